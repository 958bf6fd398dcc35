"""Threads for Django's sync code, which all requests share.

Django gives each request two new threads, one to close its response and one to end the first: a quarter of a request's time (measured),
and as many threads, each with a connection to the database, as there are requests. Here a call waits until one of a few threads is free,
and gives its connection back when it ends.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import wraps
from typing import Any

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction
from django.core.handlers.asgi import ASGIHandler
from django.template.response import SimpleTemplateResponse

from api.jobs.api.database_calls import call_and_close
from config.descriptors import most_threads
from config.thread_pool import RecentFirstExecutor


def render_in_view(view: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(view)
    def rendered(request: Any, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        if isinstance(response, SimpleTemplateResponse):
            response.render()

            async def render() -> SimpleTemplateResponse:
                return response

            response.render = render  # Django awaits it, without a thread
        return response

    return rendered


class SharedThreads(Executor):
    """One request's way to the pool. Its sync parts run one after the other, since the request waits for each of them."""

    pool = RecentFirstExecutor(most_threads(), "sync")

    def submit(self, function: Any, *arguments: Any) -> "Future[Any]":  # type: ignore[override]
        return self.pool.submit(call_and_close, function, *arguments)


class Handler(ASGIHandler):
    def make_view_atomic(self, view: Any) -> Any:
        """With the view's answer rendered where the view ran: for a sync view Django would take a thread once more."""
        atomic = super().make_view_atomic(view)
        return atomic if iscoroutinefunction(atomic) else render_in_view(atomic)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
        async with ThreadSensitiveContext(executor=SharedThreads()):
            await self.handle(scope, receive, send)
