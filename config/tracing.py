"""A span for each request. Only where traces are on (config/settings.py): else this is no middleware."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from api import tracing

UNTRACED = ("/api/health/", "/api/ready/", "/metrics")
"""What machines ask every few seconds."""


@contextmanager
def traced(request: HttpRequest, answered: list[HttpResponse]) -> Iterator[None]:
    method = request.method or "GET"
    with tracing.request_span(method, request.headers) as span:
        yield
        match = request.resolver_match
        identifier = getattr(request, "request_id", "")
        tracing.describe_answer(span, method, f"/{match.route}" if match else "other", answered[0].status_code, identifier)


def is_traced(request: HttpRequest) -> bool:
    return request.path not in UNTRACED and not request.path.startswith(settings.STATIC_URL)


@sync_and_async_middleware
def tracing_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """The outermost: the log's line of a request has the trace's id, too."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            if not is_traced(request):
                return await get_response(request)
            answered: list[HttpResponse] = []
            with traced(request, answered):
                answered.append(await get_response(request))
            return answered[0]

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        if not is_traced(request):
            return get_response(request)
        answered: list[HttpResponse] = []
        with traced(request, answered):
            answered.append(get_response(request))
        return answered[0]

    return middleware
