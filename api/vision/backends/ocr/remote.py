"""Text read by an owner's PaddleOCR server (PaddleX's basic serving): JSON to `/ocr`, the lines with their corners back. No torch."""

from __future__ import annotations

import base64
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import httpx2
from PIL import Image

from api import tracing
from api.errors import DarkroomError
from api.files.formats import FORMATS, encode
from api.vision.ocr.lines import PictureText, Polygon, TextLine, clean_text, in_reading_order

logger = logging.getLogger("darkroom.models")

ENGINE = "remote"
TRIES = 3
BACKOFF = 1.0
"""Seconds before the second try; doubled for the third."""
RETRIED = frozenset({429, 500, 502, 503, 504})
AS_IT_IS = {"useDocOrientationClassify": False, "useDocUnwarping": False, "useTextlineOrientation": False, "visualize": False}
"""The corners are to be those in the picture that was sent."""
IMAGE = 1
"""PaddleX's fileType."""
ANSWERS: dict[int, tuple[str, int, str]] = {
    401: ("remote_unauthorized", 502, "The OCR server does not accept this server's key: check OCR_REMOTE_KEY."),
    403: ("remote_forbidden", 502, "The key in OCR_REMOTE_KEY has no right to use the OCR server."),
    404: ("remote_not_found", 502, "There is no /ocr at OCR_REMOTE_URL."),
    413: ("remote_refused", 400, "The picture is too large for the OCR server."),
    422: ("remote_refused", 400, "The OCR server does not accept this picture."),
    429: ("remote_busy", 503, "The OCR server has too many requests; try again later."),
    503: ("remote_busy", 503, "The OCR server is not ready; try again later."),
}
FAILED = ("remote_failed", 502, "The OCR server could not read the picture.")
TIMED_OUT = ("remote_timeout", 504, "The OCR server did not answer in time.")
UNREACHABLE = ("remote_unreachable", 502, "The OCR server can't be reached.")
BAD_ANSWER = ("remote_bad_answer", 502, "The OCR server's answer is not the text of a picture.")


class RemoteReader(AbstractContextManager["RemoteReader"]):
    """Its address and its key appear in no error and no log."""

    def __init__(self, url: str, key: str, *, timeout: float, sleep: Callable[[float], None] = time.sleep) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self.sleep = f"{url.rstrip('/').removesuffix('/ocr')}/ocr", sleep
        self.client = httpx2.Client(headers=headers, timeout=timeout, follow_redirects=False, trust_env=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.client.close()

    def __call__(self, picture: Image.Image, codes: Sequence[str]) -> PictureText:
        """The server has its own models: `codes` don't reach it. Raises DarkroomError."""
        png = encode(picture.convert("RGB"), FORMATS["png"])
        body = {"file": base64.b64encode(png).decode(), "fileType": IMAGE, **AS_IT_IS}
        return PictureText(in_reading_order(parse_answer(self.ask(body))))

    def ask(self, body: dict[str, Any]) -> Any:
        for attempt in range(TRIES):
            try:
                with tracing.call("remote OCR", {}) as headers:
                    answer = self.client.post(self.url, json=body, headers=headers)
            except httpx2.HTTPError as error:
                problem, may_pass = TIMED_OUT if isinstance(error, httpx2.TimeoutException) else UNREACHABLE, True
                logger.warning("OCR server: %s, try %d", type(error).__name__, attempt + 1)
            else:
                if answer.status_code == 200:
                    return json_of(answer)
                problem, may_pass = ANSWERS.get(answer.status_code, FAILED), answer.status_code in RETRIED
                logger.warning("OCR server: %d, try %d", answer.status_code, attempt + 1)
            if not may_pass:
                break
            if attempt < TRIES - 1:
                self.sleep(BACKOFF * 2**attempt)
        raise DarkroomError(*problem)


def json_of(answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise DarkroomError(*BAD_ANSWER) from None


def parse_answer(answer: Any) -> list[TextLine]:
    """{"errorCode": 0, "result": {"ocrResults": [{"prunedResult": {"rec_texts", "rec_scores", "rec_polys"}}]}}. Raises DarkroomError."""
    try:
        if answer["errorCode"] != 0:
            raise DarkroomError(*FAILED)
        [page] = answer["result"]["ocrResults"]
        found = page["prunedResult"]
        rows = list(zip(found["rec_texts"], found["rec_scores"], found["rec_polys"], strict=True))
        lines = [TextLine(clean_text(text), score_of(score), polygon_of(corners), ENGINE) for text, score, corners in rows]
    except (KeyError, TypeError, ValueError):
        raise DarkroomError(*BAD_ANSWER) from None
    return [line for line in lines if line.text]


def score_of(value: Any) -> float:
    score = float(value)
    if not 0 <= score <= 1:
        raise ValueError
    return score


def polygon_of(corners: Any) -> Polygon:
    """Raises TypeError, ValueError."""
    polygon = tuple((float(x), float(y)) for x, y in corners)
    if len(polygon) < 3 or not all(math.isfinite(value) for corner in polygon for value in corner):
        raise ValueError
    return polygon
