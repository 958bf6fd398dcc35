"""Counts requests for /metrics. Native to async, like every middleware here (config/middleware.py says why)."""

import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from api.metric_definitions import http_requests, http_seconds

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


@sync_and_async_middleware
def metrics_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponse:
            started = time.perf_counter()
            return count(request, await get_response(request), started)

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        return count(request, get_response(request), started)

    return middleware


def count(request: HttpRequest, response: HttpResponse, started: float) -> HttpResponse:
    """By the pattern and not the path, whose ids would make a series each; what matches none is one series together."""
    match = request.resolver_match
    route = f"/{match.route}" if match else "other"
    method = request.method if request.method in METHODS else "other"
    http_requests.add(method, route, str(response.status_code))
    http_seconds.observe(time.perf_counter() - started, method, route)
    return response
