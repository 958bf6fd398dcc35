"""gunicorn's asgi worker, with three limits that it lacks: on open connections, on how long a request may take to arrive, on threads."""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.asgi.lifespan import LifespanManager
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from config.descriptors import most_threads
from config.malloc import return_large_blocks
from config.settings import STOP_DELAY_SECONDS
from config.stopping import RETRY_SECONDS, stopping
from config.thread_pool import RecentFirstExecutor

log = logging.getLogger("darkroom.server")
READ_SECONDS = 20.0
"""For a request's head, and then for its body; a second more for each MIN_RATE bytes that have come (as Apache's mod_reqtimeout)."""
MIN_RATE = 1024
ACCEPT_RETRY_SECONDS = 1.0
LOG_SECONDS = 60.0
IDLE_SECONDS = 2.0
"""How long an idle connection is kept by a process that ends, for the request that its client may just be sending."""
ANSWER_SECONDS, ANSWER_SECONDS_EACH, LAST_SECONDS = 4.0, 0.02, 1.0
"""Before gunicorn kills: for the answers of those that wait no longer, more where many do, and for the end itself."""


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

    @property
    def is_silent(self) -> bool:
        """Nothing has come of its first request either."""
        return self._current_request is None and not self.arrived

    def refuse_unread(self) -> None:
        """A request that has not come whole by the last moment. Nothing was done for it."""
        if self.timer and self._current_request is not None:
            headers = [("Retry-After", str(RETRY_SECONDS))]
            self._send_error_response(503, "The server is restarting; send this again.", headers)
        self.end()

    def end(self) -> None:
        self._close_transport()
        self._request_ready.set()

    def _will_close(self, request: object, response_requires_close: bool) -> bool:
        """Where others wait to be let in, or the process is about to end, nobody stays for another request."""
        return self.worker.is_full or stopping.has_begun or super()._will_close(request, response_requires_close)

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
        self.entering: set[asyncio.Task[None]] = set()
        self.left = asyncio.Event()
        self.stop_wanted = asyncio.Event()
        self.last_log = float("-inf")
        super().init_process()

    @property
    def is_full(self) -> bool:
        return self.nr_conns >= self.worker_connections

    def handle_exit_signal(self) -> None:
        """SIGTERM. `alive` stays true: gunicorn would end connections whose clients were told that they may go on."""
        self.stop_wanted.set()

    def handle_quit_signal(self) -> None:
        super().handle_quit_signal()
        self.stop_wanted.set()

    async def _serve(self) -> None:
        self.loop.set_default_executor(RecentFirstExecutor(most_threads(), "work"))
        self.lifespan = LifespanManager(self.asgi, self.log, self.state)
        try:
            await self.lifespan.startup()
        except Exception as error:
            self.log.error("The application did not start: %s", error)
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR) from None
        beating = self.loop.create_task(self.beat())
        accepting = [self.loop.create_task(self.accept(listener.sock)) for listener in self.sockets]
        await self.stop_wanted.wait()
        await self.stop(accepting)
        beating.cancel()

    async def beat(self) -> None:
        """Says that this process is well, and sees whether its parent is there."""
        while self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(1.0)
        self.stop_wanted.set()

    async def accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            await self.room()
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                await self.readable(listener)
                continue
            except ConnectionAbortedError:
                continue
            except OSError as error:  # out of descriptors: as long as that lasts, the next try would fail, too
                self.say("No connection could be taken: %s", error.strerror)
                await asyncio.sleep(ACCEPT_RETRY_SECONDS)
                continue
            await self.let_in(client)

    async def readable(self, listener: socket.socket) -> None:
        """Not `sock_accept`: where the wait is cancelled just as somebody comes, that has taken them, and loses them."""
        came = self.loop.create_future()
        self.loop.add_reader(listener, lambda: came.done() or came.set_result(None))
        try:
            await came
        finally:
            self.loop.remove_reader(listener)

    async def let_in(self, client: socket.socket) -> None:
        """To the end, also where no more are accepted meanwhile."""
        entering = self.loop.create_task(self.connect(client))
        self.entering.add(entering)
        entering.add_done_callback(self.entering.discard)
        await asyncio.shield(entering)

    async def connect(self, client: socket.socket) -> None:
        await self.loop.connect_accepted_socket(partial(Connection, self), client, ssl=self._get_ssl_context())

    # ------------------------------------------------------------ its end

    async def stop(self, accepting: Sequence["asyncio.Task[None]"]) -> None:
        """Within `graceful_timeout`, after which gunicorn kills; config/stopping.py tells those that wait.

        Balancers are told first, and connections are accepted until they have heard it. From the beginning on every answer closes its
        connection; one that is idle is given time for a request that is under way to it.
        """
        stopping.begin()
        limit = self.loop.time() + self.cfg.graceful_timeout - LAST_SECONDS
        await self.until(self.loop.time() + STOP_DELAY_SECONDS)
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, *self.entering, return_exceptions=True)
        await self.accept_last()
        await self.until_empty(self.loop.time() + IDLE_SECONDS)
        await self.until_empty(limit, closing_idle=True, leaving_time=True)
        stopping.end_waits()
        await self.until_empty(limit, closing_idle=True)
        for connection in list(self.connections):
            connection.refuse_unread()
        await self.say_goodbye()

    async def until(self, limit: float, is_done: Callable[[], bool] = lambda: False) -> None:
        """At once after SIGINT or SIGQUIT: whoever sends these wants no waiting."""
        while self.loop.time() < limit and not self._quick_shutdown and not is_done():
            await asyncio.sleep(0.02)

    async def until_empty(self, limit: float, *, closing_idle: bool = False, leaving_time: bool = False) -> None:
        """`leaving_time`: no longer than until it is time to answer all of them."""

        def is_empty() -> bool:
            if closing_idle:
                self.close_idle(silent_too=True)
            late = leaving_time and self.loop.time() >= limit - self.seconds_to_answer()
            return late or not self.connections

        await self.until(limit, is_empty)

    def seconds_to_answer(self) -> float:
        grace = float(self.cfg.graceful_timeout)
        return max(min(ANSWER_SECONDS, grace / 5), min(len(self.connections) * ANSWER_SECONDS_EACH, grace / 2))

    async def accept_last(self) -> None:
        """Who has connected and was not let in yet would be cut off with the listening socket, where this process is its last owner."""
        for listener in self.sockets:
            try:
                while not self.is_full:
                    await self.connect(listener.sock.accept()[0])
            except OSError:
                pass  # there is no more
            listener.close()

    async def say_goodbye(self) -> None:
        if self.lifespan and not self._quick_shutdown:
            await self.lifespan.shutdown()

    # ------------------------------------------------------------ room for connections

    async def room(self) -> None:
        while self.is_full:
            self.say("All %s connections are in use; others wait until one is free", self.worker_connections)
            self.close_idle()
            self.left.clear()
            await self.left.wait()

    def close_idle(self, *, silent_too: bool = False) -> None:
        for connection in [each for each in self.connections if each.is_idle or (silent_too and each.is_silent)]:
            connection.end()

    def say(self, text: str, *values: object) -> None:
        """At most a line a minute."""
        if time.monotonic() - self.last_log >= LOG_SECONDS:
            self.last_log = time.monotonic()
            log.warning(text, *values)
