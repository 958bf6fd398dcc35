"""A local server that speaks the protocol of Hugging Face's inference servers: JSON in, the picture's bytes out."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass
class InferenceServer:
    """`script`: what the next calls get instead of a picture. A status, seconds to sleep, bytes, or a status with headers."""

    script: list[int | float | bytes | tuple[int, dict[str, str]]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[InferenceServer]:
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
        self.calls.append({"headers": dict(handler.headers), "body": body})
        told = self.script.pop(0) if self.script else self._picture(body)
        status, headers = 200, {"Content-Type": "image/png"}
        if isinstance(told, float):
            time.sleep(told)
            told = self._picture(body)
        elif isinstance(told, int):
            status, told = told, b'{"error": "internal words of the server"}'
        elif isinstance(told, tuple):
            status, headers = told
            told = b"{}"
        try:
            handler.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(told))}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(told)
        except OSError:
            pass  # the client did not wait

    def _picture(self, body: dict[str, Any]) -> bytes:
        """Of the size asked for; red from a prompt, the source's own colour from a picture."""
        told = body["parameters"]
        size = told.get("target_size", told)
        colour: Any = "red"
        if "prompt" in told:
            with Image.open(io.BytesIO(base64.b64decode(body["inputs"]))) as source:
                colour = source.getpixel((0, 0))
        written = io.BytesIO()
        Image.new("RGB", (size["width"], size["height"]), colour).save(written, "PNG")
        return written.getvalue()
