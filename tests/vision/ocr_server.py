"""A local server that speaks PaddleX's basic serving protocol for OCR: JSON with the picture in, lines with their corners out."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXTS = ("Second line", "First line")
POLYGONS = ([[10, 60], [200, 60], [200, 84], [10, 84]], [[10, 20], [190, 20], [190, 44], [10, 44]])


def answer_of(texts: Any = TEXTS, scores: Any = (0.91, 0.99), polygons: Any = POLYGONS) -> dict[str, Any]:
    """As PaddleX 3 gives it; `rec_boxes` and the rest are there and not read."""
    pruned = {
        "model_settings": {"use_doc_preprocessor": False, "use_textline_orientation": False},
        "dt_polys": list(polygons), "rec_texts": list(texts), "rec_scores": list(scores), "rec_polys": list(polygons),
        "rec_boxes": [[10, 60, 200, 84], [10, 20, 190, 44]], "text_rec_score_thresh": 0.0,
    }  # fmt: skip
    page = {"prunedResult": pruned, "ocrImage": None, "docPreprocessingImage": None, "inputImage": None}
    result = {"ocrResults": [page], "dataInfo": {"width": 420, "height": 90, "type": "image"}}
    return {"logId": "3f0f3a32", "errorCode": 0, "errorMsg": "Success", "result": result}


@dataclass
class OcrServer:
    """`script`: what the next calls get instead of the lines: a status, seconds to wait, or an answer (JSON, or bytes)."""

    script: list[Any] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator["OcrServer"]:
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
        step = self.script.pop(0) if self.script else answer_of()
        if isinstance(step, float):
            time.sleep(step)
            step = answer_of()
        status = step if isinstance(step, int) else 200
        content = (
            step if isinstance(step, bytes) else json.dumps({"errorCode": step} if isinstance(step, int) else step).encode()
        )
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            if 300 <= status < 400:
                handler.send_header("Location", "http://127.0.0.1:9/elsewhere")
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            pass  # the client did not wait
