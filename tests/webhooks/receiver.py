"""A receiver of webhooks on this machine, which does at each path what receivers are known to do."""

import json
import threading
from collections import Counter
from typing import Any

from standardwebhooks import Webhook

from tests.site import Site, SiteHandler


class Handler(SiteHandler):
    server: "Receiver"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.server.cut_short += 1  # the sender was killed while it sent: no message
            return
        self.server.note(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        getattr(self, "page_" + self.path.split("?")[0].split("/")[1])()

    def page_ok(self) -> None:
        self.answer(200, b"thanks")

    def page_none(self) -> None:
        self.answer(204, b"")

    def page_fails(self) -> None:
        self.answer(500, b"broken \x00 here")

    def page_flaky(self) -> None:
        """Every second one."""
        self.answer(503 if self.server.counts[self.path] % 2 else 200, b"")

    def page_gone(self) -> None:
        self.answer(410, b"")

    def page_moved(self) -> None:
        self.answer(307, Location="/ok")

    def page_hangs(self) -> None:
        self.server.stop.wait(30)

    def page_dies(self) -> None:
        self.wfile.write(b"HTTP/1.1 2")

    def page_dies_once(self) -> None:
        """In the middle of its first answer, having read the message."""
        if self.server.counts[self.path] == 1:
            self.wfile.write(b"HTTP/1.1 2")
        else:
            self.answer(200, b"")

    def page_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.stop.wait(0.01):
            self.wfile.write(b"x" * 10_000)


class Receiver(Site):
    def __init__(self, handler: type[Handler] = Handler) -> None:
        super().__init__(handler)
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.cut_short = 0

    def note(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self.lock:
            self.counts[path] += 1
            self.heard.append((path, headers, body))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def bodies(self) -> list[dict[str, Any]]:
        with self.lock:
            return [json.loads(body) for _, _, body in self.heard]

    def verified(self, secret: str) -> list[dict[str, Any]]:
        """What came, as the specification's own library reads it. Raises WebhookVerificationError."""
        with self.lock:
            return [Webhook(secret).verify(body, headers) for _, headers, body in self.heard]
