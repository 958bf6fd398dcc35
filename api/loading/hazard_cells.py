"""`cells.json`, the cells of interest that a hazard model answers for: without it, its outputs have no meaning.  No torch, no Django.

{"reference": {"width": 848, "height": 480},
 "boxes": [[xmin, ymin, xmax, ymax], …],         # in pixels of the reference picture, in the order of the outputs
 "classes": ["hole", "step", …],                 # in the order of a cell's outputs; "normal", the last output, is not listed
 "outputs": "logits"}                            # or "probabilities", where the network ends in a sigmoid
"""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "cells.json"
NORMAL = "normal"
KEYS = {"reference", "boxes", "classes", "outputs"}
KINDS_OF_OUTPUTS = ("logits", "probabilities")
LARGEST_FILE = 1_000_000
MOST_CELLS, MOST_CLASSES, LONGEST_NAME = 4096, 1000, 300

CellBox = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax"""


class InvalidCells(ValueError):
    """The sentence says what is wrong with the file."""


@dataclass(frozen=True)
class CellLayout:
    width: float
    height: float
    """Of the reference picture."""
    boxes: tuple[CellBox, ...]
    classes: tuple[str, ...]
    logits: bool = True
    """Whether the outputs still have to go through the sigmoid."""

    @property
    def outputs_of_a_cell(self) -> int:
        return len(self.classes) + 1

    @property
    def outputs(self) -> int:
        return len(self.boxes) * self.outputs_of_a_cell

    def check_outputs(self, count: int) -> None:
        """Raises InvalidCells where a model with so many outputs isn't one of these cells."""
        each = self.outputs_of_a_cell
        if count % each:
            what = f"{len(self.classes)} classes and {NORMAL!r}"
            raise InvalidCells(f"it has {count} outputs, which is no multiple of {each} ({what} of {FILE})")
        if count != self.outputs:
            raise InvalidCells(f"its {count} outputs are {count // each} cells, and {FILE} has {len(self.boxes)}")


def read_cells(file: Path) -> CellLayout:
    """Raises InvalidCells."""
    if not file.is_file():
        raise InvalidCells(
            f"there is no {FILE} beside its weights: the size of the reference picture, the boxes of the cells, and the classes"
        )
    if file.stat().st_size > LARGEST_FILE:
        raise InvalidCells(f"{FILE} has more than {LARGEST_FILE} bytes")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidCells(f"{FILE} is no JSON") from error
    return parse_cells(content)


def parse_cells(content: object) -> CellLayout:
    """Raises InvalidCells."""
    if not isinstance(content, dict):
        raise InvalidCells(f"{FILE} holds no object")
    if unknown := sorted(content.keys() - KEYS):
        raise InvalidCells(f"{FILE} has the unknown key {unknown[0]!r}; known: {', '.join(sorted(KEYS))}")
    width, height = _read_reference(content.get("reference"))
    outputs = content.get("outputs", KINDS_OF_OUTPUTS[0])
    if outputs not in KINDS_OF_OUTPUTS:
        raise InvalidCells(f'"outputs" of {FILE} must be one of {", ".join(KINDS_OF_OUTPUTS)}')
    boxes = _read_list(content, "boxes", MOST_CELLS)
    cells = tuple(_read_box(box, place, width, height) for place, box in enumerate(boxes))
    return CellLayout(width, height, cells, _read_classes(content), outputs == KINDS_OF_OUTPUTS[0])


def _read_reference(reference: object) -> tuple[float, float]:
    sides: list[Any] = [reference.get(side) for side in ("width", "height")] if isinstance(reference, dict) else []
    if len(sides) != 2 or not all(is_number(side) and side > 0 for side in sides):
        raise InvalidCells(f'"reference" of {FILE} must be {{"width": …, "height": …}}, both above 0')
    return float(sides[0]), float(sides[1])


def _read_list(content: dict[str, Any], key: str, most: int) -> list[Any]:
    items = content.get(key)
    if not isinstance(items, list) or not 0 < len(items) <= most:
        raise InvalidCells(f'"{key}" of {FILE} must be a list of 1 to {most}')
    return items


def _read_box(box: object, place: int, width: float, height: float) -> CellBox:
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        raise InvalidCells(f"cell {place} of {FILE} must be [xmin, ymin, xmax, ymax]")
    xmin, ymin, xmax, ymax = map(float, box)
    if xmin >= xmax or ymin >= ymax:
        raise InvalidCells(f"cell {place} of {FILE} is empty: its right and lower edge must lie beyond its left and upper one")
    if xmin < 0 or ymin < 0 or xmax > width or ymax > height:
        raise InvalidCells(f"cell {place} of {FILE} lies outside the reference picture of {width:g} × {height:g}")
    return xmin, ymin, xmax, ymax


def _read_classes(content: dict[str, Any]) -> tuple[str, ...]:
    names = _read_list(content, "classes", MOST_CLASSES)
    if not all(isinstance(name, str) and name.strip() and len(name) <= LONGEST_NAME for name in names):
        raise InvalidCells(f'"classes" of {FILE} must be texts of 1 to {LONGEST_NAME} characters')
    tidy = tuple(" ".join(unicodedata.normalize("NFC", name).split()) for name in names)
    if len(set(tidy)) < len(tidy):
        raise InvalidCells(f'"classes" of {FILE} has a name twice')
    if NORMAL in tidy:
        raise InvalidCells(f'"classes" of {FILE} must not list "{NORMAL}": it is always the last output of a cell')
    return tidy


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
