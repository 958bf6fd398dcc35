"""Where a hazard is, and how great the risk of a picture's hazards is.  [no Django, no torch]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from api.vision.boxes import Box

Side = Literal["left", "ahead", "right"]
Distance = Literal["near", "far"]
Risk = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True)
class Position:
    side: Side
    """The third of the picture's width that the cell's middle is in."""
    distance: Distance
    """Near: the cell reaches into the lowest third of the picture."""


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
