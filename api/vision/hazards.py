"""What a hazard model is asked and what it finds. No Django, no torch: the backends import torch, and web processes read this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from api.vision.boxes import Box

HAZARD_CELLS = "hazard-cells"
"""The catalog's task."""

Side = Literal["left", "ahead", "right"]
Distance = Literal["near", "far"]
Risk = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True)
class Position:
    side: Side
    """The third of the picture's width that the cell's middle is in."""
    distance: Distance
    """Near: the cell reaches into the lowest third of the picture."""


@dataclass(frozen=True)
class HazardLabel:
    label: str
    score: float


@dataclass(frozen=True)
class HazardCell:
    """A cell with a hazard. `index`: its place in the model's cells.json."""

    index: int
    box: Box
    """In pixels of the picture."""
    position: Position
    labels: tuple[HazardLabel, ...]
    """The best score first."""


@dataclass(frozen=True)
class HazardRequest:
    picture: Image.Image
    """RGB"""
    threshold: float = 0.5


@dataclass(frozen=True)
class FoundHazards:
    cells: tuple[HazardCell, ...]
    reference: tuple[float, float]
    """Width and height of the picture that the model's cells were drawn on."""

    @property
    def risk(self) -> Risk:
        return risk_of([cell.position for cell in self.cells])


def position_of(box: Box, width: float, height: float) -> Position:
    """Of a cell in a picture of this size."""
    middle = (box.xmin + box.xmax) / 2 / width
    side: Side = "left" if middle < 1 / 3 else "right" if middle > 2 / 3 else "ahead"
    return Position(side, "near" if box.ymax / height > 2 / 3 else "far")


def risk_of(hazards: Sequence[Position]) -> Risk:
    """high: one is near and ahead; medium: one is near, or ahead; low: all are far and to a side; none: there is none."""
    if not hazards:
        return "none"
    worst = max((position.distance == "near") + (position.side == "ahead") for position in hazards)
    levels: tuple[Risk, ...] = ("low", "medium", "high")
    return levels[worst]
