"""Threads for Django's sync code, which all requests share.

Django gives each request two new threads, one to close its response and one to end the first: a quarter of a request's time (measured),
and as many threads, each with a connection to the database, as there are requests. Here a call waits until one of a few threads is free,
and gives its connection back when it ends.
"""

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler

from api.jobs.api.database_calls import call_and_close
from config.descriptors import most_threads


class SharedThreads(Executor):
    """One request's way to the pool. Its sync parts run one after the other, since the request waits for each of them."""

    pool = ThreadPoolExecutor(most_threads(), thread_name_prefix="sync")

    def submit(self, function: Any, *arguments: Any) -> "Future[Any]":  # type: ignore[override]
        return self.pool.submit(call_and_close, function, *arguments)


class Handler(ASGIHandler):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
        async with ThreadSensitiveContext(executor=SharedThreads()):
            await self.handle(scope, receive, send)
