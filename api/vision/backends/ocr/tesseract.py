"""Tesseract's line recogniser, as the program that the system has, in a process of its own. No Django, no torch."""

from __future__ import annotations

import io
import logging
import subprocess
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from api.errors import DarkroomError
from api.vision.ocr.installed import environment, find_tesseract

logger = logging.getLogger("darkroom.models")

ONE_LINE = "7"
"""Tesseract's page segmentation mode: the picture is one line of text."""
LINES_AT_ONCE = 128
"""Of one process: starting it and reading its language takes as long as reading some lines."""
SECONDS = 60.0
"""For one process; 128 long lines take about 4."""
DPI = 300
WORD = "5"
"""The level of a row of its table that is a word."""
PAGE, CONFIDENCE, TEXT = 1, 10, 11
"""Columns of the table."""


def read_with_tesseract(lines: Sequence[NDArray[np.uint8]], languages: Sequence[str]) -> list[tuple[str, float]]:
    """The text and the confidence (0 to 1) of each line, dark letters on light in grey. Raises DarkroomError."""
    found: list[tuple[str, float]] = []
    for start in range(0, len(lines), LINES_AT_ONCE):
        some = lines[start : start + LINES_AT_ONCE]
        found += parse_table(run_tesseract(as_tiff(some), languages), len(some))
    return found


def as_tiff(lines: Sequence[NDArray[np.uint8]]) -> bytes:
    """One page for each line: nothing is written to disk."""
    first, *rest = [Image.fromarray(line) for line in lines]
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=rest, dpi=(DPI, DPI))
    return buffer.getvalue()


def run_tesseract(pages: bytes, languages: Sequence[str]) -> str:
    command = [
        find_tesseract() or "tesseract",
        "stdin",
        "stdout",
        "-l",
        "+".join(languages),
        "--psm",
        ONE_LINE,
        "--oem",
        "1",
        "tsv",
    ]
    try:
        done = subprocess.run(command, input=pages, capture_output=True, env=environment(), timeout=SECONDS)
    except FileNotFoundError:
        raise DarkroomError("tesseract_missing", 503, "Tesseract is no longer installed on this worker.") from None
    except subprocess.TimeoutExpired:
        raise DarkroomError("tesseract_timeout", 504, f"Tesseract did not read the picture in {SECONDS:.0f} s.") from None
    if done.returncode != 0:
        logger.error("tesseract ended with %d: %s", done.returncode, done.stderr.decode("utf-8", "replace")[-500:])
        raise DarkroomError("tesseract_failed", 500, "Tesseract ended with an error; this server's log has it.")
    return done.stdout.decode("utf-8", "replace")


def parse_table(table: str, count: int) -> list[tuple[str, float]]:
    """Words with a confidence from 0 to 100, each with its page; a page without words is a line without text."""
    words: list[list[tuple[str, float]]] = [[] for _ in range(count)]
    for row in table.splitlines():
        cells = row.split("\t")
        if cells[0] == WORD and cells[TEXT].strip():
            words[int(cells[PAGE]) - 1].append((cells[TEXT], float(cells[CONFIDENCE])))
    return [join_words(line) for line in words]


def join_words(words: Sequence[tuple[str, float]]) -> tuple[str, float]:
    if not words:
        return "", 0.0
    letters = sum(len(word) for word, _ in words)
    return " ".join(word for word, _ in words), sum(len(word) * confidence for word, confidence in words) / letters / 100
