"""What a hazard model is asked and what it finds. No Django, no torch: the backends import torch, and web processes read this."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from api.vision.boxes import Box
from api.vision.hazard_risk import Position, Risk, risk_of

HAZARD_CELLS = "hazard-cells"
"""The catalog's task."""


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
