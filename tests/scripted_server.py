"""A local server whose answers a test scripts: the base of servers that others' protocols are spoken with."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    content: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ScriptedServer(ABC):
    """`script`: what the next calls get instead of the usual answer. A float is seconds to wait for that; what else a step may be, and
    which answer it means, is the protocol's to say.
    """

    script: list[Any] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @abstractmethod
    def usual(self, body: dict[str, Any]) -> Reply: ...

    @abstractmethod
    def scripted(self, step: Any) -> Reply: ...

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/secret-path"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.calls.append({"path": handler.path, "headers": dict(handler.headers), "body": body})
        reply = self.next_reply(body)
        try:
            handler.send_response(reply.status)
            headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.content)), **reply.headers}
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(reply.content)
        except OSError:
            pass  # the client did not wait

    def next_reply(self, body: dict[str, Any]) -> Reply:
        step = self.script.pop(0) if self.script else 0.0
        if not isinstance(step, float):
            return self.scripted(step)
        time.sleep(step)
        return self.usual(body)
