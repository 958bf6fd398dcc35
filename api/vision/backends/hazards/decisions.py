"""From a picture to what a hazard model takes, and from its outputs to labels.  No torch, no Django.

Pictures are squeezed into the model's size as a whole, in pixels of 0..1 without ImageNet's normalization, as YOLIC was trained.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from api.errors import DarkroomError
from api.loading.hazard_cells import CellLayout
from api.vision.boxes import Box
from api.vision.hazard_risk import position_of
from api.vision.hazards import FoundHazards, HazardCell, HazardLabel, HazardRequest

Array = np.ndarray


def prepare(picture: Image.Image, width: int, height: int) -> Array:
    """(3, height, width) float32 of 0..1."""
    squeezed = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(squeezed, np.float32).transpose(2, 0, 1) / 255)


def scores_of(outputs: Array, layout: CellLayout) -> Array:
    """(cells, classes + 1) probabilities of one picture's outputs (cells × (classes + 1),). Raises DarkroomError."""
    values = outputs.astype(np.float64)
    scores = 1 / (1 + np.exp(-np.clip(values, -60, 60))) if layout.logits else values
    if not (np.isfinite(values).all() and scores.min() >= 0 and scores.max() <= 1):
        detail = 'The model gave outputs that are no probabilities; "outputs" of its cells.json says which they are.'
        raise DarkroomError("broken_model", 422, detail)
    return scores.reshape(len(layout.boxes), layout.outputs_of_a_cell)


def decide(scores: Array, threshold: float) -> Array:
    """(cells, classes + 1) bool: those above the threshold, and of a cell where none is, the largest."""
    there: Array = scores > threshold
    without = np.flatnonzero(~there.any(axis=1))
    there[without, scores[without].argmax(axis=1)] = True
    return there


def find_hazards(request: HazardRequest, outputs: Array, layout: CellLayout) -> FoundHazards:
    """The cells with a hazard; those that are only "normal" are left out. Raises DarkroomError."""
    scores = scores_of(outputs, layout)
    there = decide(scores, request.threshold)[:, :-1]
    cells = tuple(
        _cell(int(index), scores[index], there[index], request, layout) for index in np.flatnonzero(there.any(axis=1))
    )
    return FoundHazards(cells, (layout.width, layout.height))


def _cell(index: int, scores: Array, there: Array, request: HazardRequest, layout: CellLayout) -> HazardCell:
    width, height = request.picture.size
    xmin, ymin, xmax, ymax = layout.boxes[index]
    across, down = width / layout.width, height / layout.height
    box = Box(xmin * across, ymin * down, xmax * across, ymax * down)
    order = sorted(np.flatnonzero(there).tolist(), key=lambda place: -scores[place])
    labels = tuple(HazardLabel(layout.classes[place], float(scores[place])) for place in order)
    return HazardCell(index, box, position_of(box, width, height), labels)
