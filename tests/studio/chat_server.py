"""A chat model whose words a test writes: an OpenAI-compatible server that Darkroom passes its chats on to."""

import json
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"
PIECE, PAUSE = 24, 0.06
"""Letters, and seconds: longer than what a worker takes together as one event."""


class ScriptedChat(ThreadingHTTPServer):
    """Answers with `answer`, piece by piece. Where `held` is clear it stops before the last piece until it is set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answer, self.held = "Hello.", threading.Event()
        self.held.set()
        self.requests: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def pieces(self) -> Sequence[str]:
        text = self.answer
        return [text[place : place + PIECE] for place in range(0, len(text), PIECE)]


class Handler(BaseHTTPRequestHandler):
    server: ScriptedChat

    def do_POST(self) -> None:
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        *first, last = self.server.pieces()
        try:
            for piece in first:
                self.tell({"content": piece})
                time.sleep(PAUSE)
            self.server.held.wait(60)
            self.tell({"content": last})
            self.tell({}, "stop")
            usage = {"prompt_tokens": 7, "completion_tokens": len(first) + 1, "total_tokens": len(first) + 8}
            self.write({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # the answer was stopped

    def tell(self, delta: dict[str, str], finish: str | None = None) -> None:
        self.write({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def write(self, chunk: dict[str, Any]) -> None:
        whole = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": MODEL, **chunk}
        self.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *arguments: Any) -> None:
        return
