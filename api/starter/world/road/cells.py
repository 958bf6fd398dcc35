"""The cells of interest of starter-hazards, and which hazards are in each, counted from what was drawn."""

from itertools import pairwise

import numpy as np

from api.starter.world.road.camera import HEIGHT, WIDTH
from api.starter.world.road.hazards import HAZARDS

CLASSES = tuple(HAZARDS)
NOTHING = len(CLASSES)
"""In a map of labels: no hazard here. Also the place of "normal" among a cell's outputs."""
ENOUGH = 0.08
"""A cell has a hazard that covers this share of it."""

Box = tuple[int, int, int, int]


def _row(top: int, bottom: int, columns: int) -> list[Box]:
    edges = [round(WIDTH * place / columns) for place in range(columns + 1)]
    return [(left, top, right, bottom) for left, right in pairwise(edges)]


CELLS: list[Box] = [*_row(150, 205, 16), *_row(205, 260, 16), *_row(260, 350, 8), *_row(350, 480, 8)]
"""(xmin, ymin, xmax, ymax) in the reference picture, the far rows first."""
MIRRORED = [CELLS.index((WIDTH - xmax, ymin, WIDTH - xmin, ymax)) for xmin, ymin, xmax, ymax in CELLS]
"""For each cell the one that takes its place in the mirrored picture."""


def cover(labels: np.ndarray) -> np.ndarray:
    """The share of each cell that each hazard covers: (cells, classes), from a map of labels (H, W)."""
    height, width = labels.shape
    shares = np.empty((len(CELLS), len(CLASSES)), np.float32)
    for index, box in enumerate(CELLS):
        xmin, xmax = (round(x * width / WIDTH) for x in box[::2])
        ymin, ymax = (round(y * height / HEIGHT) for y in box[1::2])
        inside = labels[ymin:ymax, xmin:xmax]
        shares[index] = np.bincount(inside.ravel(), minlength=NOTHING + 1)[:NOTHING] / inside.size
    return shares


def targets_of(labels: np.ndarray) -> np.ndarray:
    """What the outputs should be: (cells, classes + 1) of 0 and 1, "normal" last where no hazard is in the cell."""
    there = cover(labels) >= ENOUGH
    return np.concatenate([there, ~there.any(axis=1, keepdims=True)], axis=1).astype(np.float32)
