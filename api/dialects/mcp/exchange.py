"""One request to an ASGI application from inside a Django view: Django's own middleware is around it, and what it sends streams.

A client that leaves ends the application's task, as an ASGI server does for Django's own streams.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

Message = dict[str, Any]
Application = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
Service = Callable[[Message, bytes, Message], Awaitable[HttpResponseBase]]
"""To a scope, a body, and the message that is in it."""
HOP_BY_HOP = ("connection", "transfer-encoding")
"""Headers that are between us and the client, which the server sets."""

_running: set[asyncio.Task[None]] = set()


class Exchange:
    """`response` is what the application answers; `leave` ends it before that, from any thread."""

    def __init__(self, application: Application, scope: Message, body: bytes) -> None:
        self.body: bytes | None = body
        self.messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.is_answered = False
        self.task = self.loop.create_task(self.run(application, scope))
        _running.add(self.task)
        self.task.add_done_callback(_running.discard)

    async def run(self, application: Application, scope: Message) -> None:
        try:
            await application(scope, self.receive, self.messages.put)
        finally:
            self.messages.put_nowait(None)

    async def receive(self) -> Message:
        """The body, once. That the client has gone is no message here: then `run` is cancelled."""
        if self.body is None:
            await asyncio.Event().wait()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def response(self) -> HttpResponseBase:
        """A stream begins before there is anything in it."""
        try:
            start = await self.next()
            response = ChunkedResponse(self) if is_stream(start) else HttpResponse(await self.whole())
        except asyncio.CancelledError:
            self.leave()
            raise
        response.status_code = start["status"]
        return with_headers(response, start["headers"])

    async def next(self) -> Message:
        """Raises what the application raised instead of it."""
        message = await self.messages.get()
        if message is None:
            self.task.result()
            raise RuntimeError("The application ended without an answer.")
        if message["type"] == "http.response.body":
            self.is_answered = not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while not self.is_answered:
            yield (await self.next())["body"]

    def leave(self) -> None:
        """What has answered is left to put its things away."""
        if not self.is_answered:
            self.loop.call_soon_threadsafe(self.task.cancel)


class ChunkedResponse(StreamingHttpResponse):
    """Closed by the server, whatever became of the client: also before its first chunk was asked for."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(begun(exchange.chunks()))
        self.exchange = exchange

    def close(self) -> None:
        super().close()
        self.exchange.leave()


async def begun(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """First a comment: the server sends the head of an answer with the first of its body."""
    yield b": Darkroom\r\n\r\n"
    async for chunk in chunks:
        yield chunk


def is_stream(start: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in start["headers"])


def with_headers(response: HttpResponseBase, headers: list[tuple[bytes, bytes]]) -> HttpResponseBase:
    del response["Content-Type"]
    for name, value in headers:
        if (text := name.decode("latin-1").lower()) not in HOP_BY_HOP:
            response[text.title()] = value.decode("latin-1")
    return response
