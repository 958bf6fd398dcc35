"""Detectors that were exported to ONNX as YOLO models are: from a file to a session, its names and its layout.  [torch; no Django]

One picture of 0..1 in RGB goes in (batch, 3, height, width), letterboxed; one output comes out, in one of two layouts:

    raw        (batch, 4 + classes, boxes)   center x, center y, width, height in input pixels; a score of each class
    selected   (batch, boxes, 6)             left, top, right, bottom in input pixels; score; class
"""

from __future__ import annotations

import ast
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from api.catalog import ModelEntry
from api.errors import DarkroomError
from api.loading.onnx import Array, OnnxSession, bytes_of, open_checked

Layout = Literal["raw", "selected"]
LONGEST_NAMES, MOST_NAMES, LONGEST_NAME = 500_000, 100_000, 300
TEXT = r"""(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')"""
NAMES = re.compile(rf"\{{(?:\s*\d{{1,6}}\s*:\s*{TEXT}\s*,?)*+\s*\}}|\[(?:\s*{TEXT}\s*,?)*+\s*\]")
"""{0: 'person', 1: 'bicycle'} or ['person', 'bicycle']: nothing is nested, so that literal_eval can't be made to recurse."""
SIZE = re.compile(r"[\[(]?\s*(\d{1,5})\s*(?:,\s*(\d{1,5})\s*)?[\])]?")
FLOATS = ("tensor(float)", "tensor(float16)")
CHANNELS = 3
LARGEST_SIDE = 4096


@dataclass(frozen=True)
class YoloModel:
    """What a lease gets."""

    session: OnnxSession
    file: Path
    width: int
    height: int
    batch: int | None
    """How many pictures one call takes; None: any number."""
    labels: tuple[str, ...]
    layout: Layout

    @property
    def nbytes(self) -> int:
        return bytes_of(self.file)

    def run(self, pictures: Array) -> Array:
        """(batch, 3, height, width) of 0..1 to the output in float32."""
        [given], [output] = self.session.types, self.session.outputs
        return self.session.run({given: pictures})[output].astype(np.float32)


def load_yolo(entry: ModelEntry, file: Path) -> YoloModel:
    """Raises DarkroomError for what is no detector in one of the layouts above."""
    session = open_checked(file, entry, broken)
    about = session.session.get_modelmeta().custom_metadata_map
    if about.get("task", "detect") != "detect":
        raise broken(entry, f"{file.name} is for the task {about['task'][:40]!r}, and detectors (detect) are run")
    batch, height, width = read_input(entry, session, about)
    labels = entry.classes or read_names(entry, about.get("names"))
    layout = find_layout(entry, session, (batch or 1, CHANNELS, height, width), len(labels))
    return YoloModel(session, file, width, height, batch, tuple(map(tidy_label, labels)), layout)


def broken(entry: ModelEntry, reason: str) -> DarkroomError:
    return DarkroomError("broken_model", 422, f"{entry.name} can't be used as a detector: {reason}.")


def read_input(entry: ModelEntry, session: OnnxSession, about: dict[str, str]) -> tuple[int | None, int, int]:
    """Batch, height and width; where the file leaves its size open, what its metadata says (`imgsz`), else the catalog."""
    inputs = session.session.get_inputs()
    if len(inputs) != 1:
        raise broken(entry, f"it has {len(inputs)} inputs, and one picture is given")
    shape: list[Any] = list(inputs[0].shape)
    if len(shape) != 4:
        raise broken(entry, f"its input has {len(shape)} axes, and pictures have 4 (batch, {CHANNELS}, height, width)")
    if inputs[0].type not in FLOATS:
        raise broken(entry, f"its input is a {inputs[0].type}, and float32 or float16 is given")
    if isinstance(shape[1], int) and shape[1] != CHANNELS:
        raise broken(entry, f"its input has {shape[1]} channels, and pictures have {CHANNELS}")
    stated = SIZE.fullmatch(about.get("imgsz", "").strip())
    tall, wide = (int(stated[1]), int(stated[2] or stated[1])) if stated else (entry.default_size, entry.default_size)
    height, width = (fixed if isinstance(fixed, int) else open_ for fixed, open_ in zip(shape[2:], (tall, wide), strict=True))
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise broken(entry, f"its input has {width} × {height} pixels")
    return shape[0] if isinstance(shape[0], int) else None, height, width


def read_names(entry: ModelEntry, text: str | None) -> tuple[str, ...]:
    """The classes of the file's metadata, numbered from 0."""
    if not text:
        reason = 'the file has no names of its classes (`names` in its metadata); say them in the catalog: classes = ["…"]'
        raise broken(entry, reason)
    if len(text) > LONGEST_NAMES or not NAMES.fullmatch(text.strip()):
        raise broken(entry, "the names in its metadata are no list of texts")
    try:
        names = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError) as error:
        raise broken(entry, "the names in its metadata are no list of texts") from error
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise broken(entry, "the names in its metadata are not numbered from 0")
        names = [names[number] for number in range(len(names))]
    if not 0 < len(names) <= MOST_NAMES:
        raise broken(entry, f"it names {len(names)} classes")
    return tuple(names)


def tidy_label(label: str) -> str:
    """In NFC, on one line, at most LONGEST_NAME characters."""
    text = " ".join(unicodedata.normalize("NFC", label).split())
    text = "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs"))
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def find_layout(entry: ModelEntry, session: OnnxSession, shape: tuple[int, int, int, int], classes: int) -> Layout:
    """By what comes out for a blank picture, since a file may leave the sizes of its output open."""
    if len(session.outputs) != 1:
        raise broken(entry, f"it has {len(session.outputs)} outputs, and a detector has one")
    [given] = session.types
    try:
        output = session.run({given: np.zeros(shape, np.float32)})[session.outputs[0]]
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise broken(entry, f"it can't be run on a picture of {shape[3]} × {shape[2]} pixels") from error
    if output.ndim != 3:
        raise broken(entry, f"its output has {output.ndim} axes, and a detector's has 3")
    if output.shape[2] == 6:  # a raw output has hundreds of boxes
        return "selected"
    if output.shape[1] == 4 + classes:
        return "raw"
    sizes = " × ".join(map(str, output.shape))
    wanted = f"1 × {4 + classes} × N or 1 × N × 6"
    raise broken(entry, f"its output is {sizes}, which does not fit its {classes} classes ({wanted} would)")
