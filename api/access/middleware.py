"""CORS: browsers on other origins may use the API where CORS_ORIGINS names them. Never with cookies."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware

from api.access.principals import FOREIGN_ORIGIN
from api.problems import answer

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED = "ETag, Location, Mcp-Session-Id, Preference-Applied, Retry-After, X-Request-ID"
MAX_AGE_SECONDS = 600
GetResponse = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def cors_middleware(get_response: GetResponse) -> GetResponse:
    """Answers preflights, and marks the replies that an allowed origin may read. Refusing is `principal_of`'s part."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            preflight = answer_preflight(request)
            return preflight or mark_readable(request, await get_response(request))

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        return answer_preflight(request) or mark_readable(request, get_response(request))

    return middleware


def is_listed(request: HttpRequest) -> bool:
    return request.headers.get("Origin") in settings.CORS_ORIGINS


def answer_preflight(request: HttpRequest) -> HttpResponse | None:
    """204 for a listed origin, 403 for another; None where the request is no preflight."""
    if request.method != "OPTIONS" or not {"Origin", "Access-Control-Request-Method"} <= set(request.headers):
        return None
    if not is_listed(request):
        return answer(request, 403, "permission_denied", FOREIGN_ORIGIN)
    response = mark_readable(request, HttpResponse(status=204))
    response["Access-Control-Allow-Methods"] = METHODS
    response["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "")
    response["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
    return response


def mark_readable(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    if settings.CORS_ORIGINS:
        patch_vary_headers(response, ["Origin"])
    if is_listed(request):
        response["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response["Access-Control-Expose-Headers"] = EXPOSED
    return response
