"""gunicorn's asgi worker, with three limits that it lacks: on open connections, on how long a request may take to arrive, on threads."""

import asyncio
import json
import logging
import os
import socket
import time
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from config.descriptors import most_threads
from config.malloc import return_large_blocks
from config.thread_pool import RecentFirstExecutor

log = logging.getLogger("darkroom.server")
READ_SECONDS = 20.0
"""For a request's head, and then for its body; a second more for each MIN_RATE bytes that have come (as Apache's mod_reqtimeout)."""
MIN_RATE = 1024
ACCEPT_RETRY_SECONDS = 1.0
LOG_SECONDS = 60.0


class Connection(ASGIProtocol):
    """One client's connection. `timer` runs while a request is arriving."""

    def __init__(self, worker: "WebWorker") -> None:
        super().__init__(worker)
        self.timer: asyncio.TimerHandle | None = None
        self.since, self.arrived = 0.0, 0

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)
        self.worker.connections.add(self)
        self.expect()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.stop_timer()
        self.worker.connections.discard(self)
        self.worker.left.set()

    # ------------------------------------------------------------ a request that arrives

    def data_received(self, data: bytes) -> None:
        if self.timer is None:  # the next request begins
            self.expect()
        self.arrived += len(data)
        super().data_received(data)

    def _on_headers_complete(self) -> object:
        self.expect()
        return super()._on_headers_complete()

    def _on_message_complete(self) -> object:
        self.stop_timer()
        return super()._on_message_complete()

    def expect(self) -> None:
        self.stop_timer()
        self.since, self.arrived = self.worker.loop.time(), 0
        self.timer = self.worker.loop.call_later(READ_SECONDS, self.check_deadline)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def check_deadline(self) -> None:
        """Has enough arrived since? While we read no further ourselves, the client has time."""
        left = self.since + READ_SECONDS + self.arrived / MIN_RATE - self.worker.loop.time()
        if self._reading_paused:
            left = READ_SECONDS
        if left > 0:
            self.timer = self.worker.loop.call_later(left, self.check_deadline)
            return
        self.timer = None
        if self.arrived or self._current_request is not None:
            self._send_error_response(408, "The request took too long to arrive.")
        self.end()

    # ------------------------------------------------------------ its end

    @property
    def is_idle(self) -> bool:
        """Answered, and kept for another request of which nothing has come."""
        return self._keepalive_handle is not None and not (self.timer and self.arrived)

    def end(self) -> None:
        self._close_transport()
        self._request_ready.set()

    def _will_close(self, request: object, response_requires_close: bool) -> bool:
        """Where others wait to be let in, nobody stays for another request."""
        return self.worker.is_full or super()._will_close(request, response_requires_close)

    def path_begun(self) -> str:
        """Of a request whose head can't be read, where its first line could."""
        target: bytes | None = getattr(self._callback_parser, "path", None)
        return target.decode("latin-1").partition("?")[0] if target else ""

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """What gunicorn refuses by itself, in the form that the address's clients read."""
        from api.problems import error_body  # Django is set up when the application is loaded

        path = self._current_request.path if self._current_request is not None else self.path_begun()
        code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
        document, content_type = error_body(path, status, code, message)
        body = json.dumps(document).encode()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {content_type}"]
        lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in extra_headers), "Connection: close"]
        self._safe_write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


class WebWorker(ASGIWorker):
    """Connections beyond `worker_connections` wait in the kernel's backlog, and are let in as others leave."""

    def init_process(self) -> None:
        return_large_blocks()
        self.connections: set[Connection] = set()
        self.left = asyncio.Event()
        self.last_log = float("-inf")
        super().init_process()

    @property
    def is_full(self) -> bool:
        return self.nr_conns >= self.worker_connections

    async def _serve(self) -> None:
        self.loop.set_default_executor(RecentFirstExecutor(most_threads(), "work"))
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        try:
            await self.lifespan.startup()
        except Exception as error:
            self.log.error("The application did not start: %s", error)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
        accepting = [self.loop.create_task(self.accept(listener.sock)) for listener in self.sockets]
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(1.0)
        for task in accepting:
            task.cancel()
        for listener in self.sockets:
            listener.close()
        self.close_idle()
        await self._shutdown()

    async def accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        secure = self._get_ssl_context()
        while True:
            await self.room()
            try:
                client, _ = await self.loop.sock_accept(listener)
            except ConnectionAbortedError:
                continue
            except OSError as error:  # out of descriptors: as long as that lasts, the next try would fail, too
                self.say("No connection could be taken: %s", error.strerror)
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                continue
            await self.loop.connect_accepted_socket(partial(Connection, self), client, ssl=secure)

    async def room(self) -> None:
        while self.is_full:
            self.say("All %s connections are in use; others wait until one is free", self.worker_connections)
            self.close_idle()
            self.left.clear()
            await self.left.wait()

    def close_idle(self) -> None:
        for connection in [each for each in self.connections if each.is_idle]:
            connection.end()

    def say(self, text: str, *values: object) -> None:
        """At most a line a minute."""
        if time.monotonic() - self.last_log >= LOG_SECONDS:
            self.last_log = time.monotonic()
            log.warning(text, *values)
