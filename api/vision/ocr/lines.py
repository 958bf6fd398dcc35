"""Lines of text in a picture, and the order in which a person reads them. No Django, no torch."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from api.json_types import JsonObject
from api.vision.boxes import Box

Point = tuple[float, float]
Polygon = tuple[Point, ...]
"""Clockwise, from the corner above the first letter, in pixels of the picture as a person sees it."""
SAME_BAND = 0.5
"""Lines whose middles are nearer than this share of the lower one's height stand beside each other."""
COARSE = 0.5
TOO_LARGE = (
    "The picture is large: lines were looked for at {:.0%} of its size, and small ones may be missing. Send parts of it."
)


@dataclass(frozen=True)
class TextLine:
    text: str
    score: float
    polygon: Polygon
    engine: str
    """What read it: "pp-ocr", "tesseract" or "remote"."""

    @property
    def box(self) -> Box:
        x, y = zip(*self.polygon, strict=True)
        return Box(min(x), min(y), max(x), max(y))

    def as_json(self) -> JsonObject:
        corners = [[round(x, 1), round(y, 1)] for x, y in self.polygon]
        return {
            "text": self.text, "score": round(self.score, 4), "polygon": corners, "box": self.box.as_json(), "engine": self.engine
        }  # fmt: skip


@dataclass(frozen=True)
class PictureText:
    lines: list[TextLine]
    """In reading order."""
    scale: float = 1.0
    """At which lines were looked for."""
    notes: tuple[str, ...] = ()
    """What was done for want of memory."""

    @property
    def warnings(self) -> list[str]:
        return [*self.notes, *([TOO_LARGE.format(self.scale)] if self.scale < COARSE else [])]


def clean_text(text: str) -> str:
    """NFC, on one line, without control characters."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(character for character in text if unicodedata.category(character) not in ("Cc", "Cs", "Cn"))


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """From the top to the bottom, and from left to right where lines stand beside each other; along the text where all is tilted."""
    if not lines:
        return []
    angle = median(angle_of(line.polygon) for line in lines)
    placed = sorted((place_of(line, angle) for line in lines), key=lambda place: place.middle)
    bands: list[list[Place]] = []
    for place in placed:
        if bands and is_beside(bands[-1][-1], place):
            bands[-1].append(place)
        else:
            bands.append([place])
    return [place.line for band in bands for place in sorted(band, key=lambda place: place.start)]


@dataclass(frozen=True)
class Place:
    """Where a line stands, along the text (`start`) and across it."""

    line: TextLine
    start: float
    middle: float
    height: float


def place_of(line: TextLine, angle: float) -> Place:
    cosine, sine = math.cos(-angle), math.sin(-angle)
    turned = [(x * cosine - y * sine, x * sine + y * cosine) for x, y in line.polygon]
    across = [y for _, y in turned]
    return Place(line, min(x for x, _ in turned), sum(across) / len(across), max(across) - min(across))


def is_beside(one: Place, other: Place) -> bool:
    return other.middle - one.middle < SAME_BAND * min(one.height, other.height)


def angle_of(polygon: Polygon) -> float:
    """Of the upper edge, in radians."""
    (left, top), (right, other_top) = polygon[:2]
    return math.atan2(other_top - top, right - left)
