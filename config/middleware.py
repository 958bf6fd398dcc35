"""Middleware that never holds a thread while a request waits.

Django runs a sync middleware around an async view by parking a thread for as long as the view takes. Two hundred clients that wait
for their pictures would then hold two hundred threads. So what the API needs is written for async, and Django's own session, CSRF and
login middleware run only where a page needs them.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import get_language_from_request, override
from whitenoise.middleware import WhiteNoiseMiddleware

from config.access_log import log_request
from config.logs import request_id

GetResponse = Callable[[HttpRequest], Any]
PAGES = ("/admin/", "/studio/", "/api/docs/", "/api/schema/")
# Of every HTML page but Swagger's, which brings an inline script. Nothing inline and nothing from elsewhere; previews are data: URLs.
CONTENT_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def is_page(request: HttpRequest) -> bool:
    """Whether sessions matter: a page for people, or a file that a logged-in person's page shows."""
    if request.path == "/" or request.path.startswith(PAGES):
        return True
    return request.method in ("GET", "HEAD") and settings.SESSION_COOKIE_NAME in request.COOKIES


def begin(request: HttpRequest) -> float:
    given = request.headers.get("X-Request-ID", "")
    identifier = given if CLIENT_ID.fullmatch(given) else uuid.uuid4().hex
    request.request_id = identifier  # type: ignore[attr-defined]
    request_id.set(identifier)
    if request.encoding is not None:
        request.encoding = (
            settings.DEFAULT_CHARSET
        )  # every text is UTF-8; some of Python's other codecs raise on what they can't read
    return time.monotonic()


def end(request: HttpRequest, response: HttpResponse, started: float) -> HttpResponse:
    response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
    response.setdefault("X-Content-Type-Options", "nosniff")
    if response.headers.get("Content-Type", "").startswith("text/html") and not request.path.startswith("/api/docs/"):
        response.setdefault("Content-Security-Policy", CONTENT_POLICY)
    log_request(request, response, time.monotonic() - started)
    return response


@sync_and_async_middleware
def request_id_middleware(get_response: GetResponse) -> GetResponse:
    """Every reply carries X-Request-ID: the client's own where it is sane, else a new one. The log has it on every line."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            started = begin(request)
            return end(request, await get_response(request), started)

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        started = begin(request)
        return end(request, get_response(request), started)

    return middleware


def language_of(request: HttpRequest) -> str:
    """A studio's page is in the language that was chosen there (a cookie), else in the browser's; whatever else is answered is English."""
    if request.path == "/" or request.path.startswith("/studio/"):
        return get_language_from_request(request)
    return settings.LANGUAGE_CODE


def tell_language(response: HttpResponse, language: str) -> HttpResponse:
    if response.headers.get("Content-Type", "").startswith("text/html"):
        response.setdefault("Content-Language", language)
        patch_vary_headers(response, ("Accept-Language",))
    return response


@sync_and_async_middleware
def language_middleware(get_response: GetResponse) -> GetResponse:
    """As Django's LocaleMiddleware, which leaves its language behind: a connection's next request may be one of the API."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            with override(language := language_of(request)):
                return tell_language(await get_response(request), language)

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        with override(language := language_of(request)):
            return tell_language(get_response(request), language)

    return middleware


def not_found(request: HttpRequest) -> HttpResponse:
    raise Http404


@sync_and_async_middleware
def static_files_middleware(get_response: GetResponse) -> GetResponse:
    """WhiteNoise (sync) for what is below STATIC_URL; the rest passes without touching a thread."""
    whitenoise = WhiteNoiseMiddleware(not_found)
    prefix = settings.STATIC_URL

    def read_file(request: HttpRequest) -> HttpResponse:
        """Whole, since the files are small, and an async server can't use WhiteNoise's sync iterator."""
        response = whitenoise(request)
        if not response.streaming:
            return response
        with closing(response):
            return HttpResponse(response.getvalue(), status=response.status_code, headers=dict(response.headers))

    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            if not request.path_info.startswith(prefix):
                return await get_response(request)
            try:
                return await sync_to_async(read_file, thread_sensitive=False)(request)
            except Http404:
                return await get_response(request)

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(prefix):
            return get_response(request)
        try:
            return read_file(request)
        except Http404:
            return get_response(request)

    return middleware


class ForPages:
    """Mixed into one of Django's middleware classes: runs it for pages, steps aside for the API."""

    sync_capable = async_capable = True
    get_response: GetResponse

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if is_page(request):
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)


class SecurityForPages(ForPages, SecurityMiddleware): ...


class SessionsForPages(ForPages, SessionMiddleware): ...


class CommonForPages(ForPages, CommonMiddleware): ...


class CsrfForPages(ForPages, CsrfViewMiddleware):
    async def process_view(self, request: HttpRequest, *args: Any) -> HttpResponse | None:  # type: ignore[override]
        return await sync_to_async(super().process_view)(request, *args) if is_page(request) else None


class AuthenticationForPages(ForPages, AuthenticationMiddleware): ...


class MessagesForPages(ForPages, MessageMiddleware): ...


class FramesForPages(ForPages, XFrameOptionsMiddleware): ...
