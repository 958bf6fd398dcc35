"""From boxes and scores to what a request asked for: its classes, its threshold, the best so many.  No torch, no Django."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from api.errors import DarkroomError
from api.vision.boxes import Box
from api.vision.detection import DetectionRequest, Found

Array = NDArray[Any]
MOST_CANDIDATES = 3000
"""Boxes that are compared with each other: 8,400 take ten times as long, and the others have lower scores."""
MOST_NAMED = 100
"""Of a model's classes, in an error."""


def wanted_classes(request: DetectionRequest, labels: Sequence[str]) -> Array | None:
    """The numbers of the classes that a request asks for; None for all. Raises DarkroomError (unknown_class)."""
    return None if request.classes is None else class_numbers(request.classes, labels)


def class_numbers(names: Sequence[str], labels: Sequence[str]) -> Array:
    """The numbers of these classes; several may have one name. Raises DarkroomError (unknown_class)."""
    by_name: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        by_name.setdefault(label.casefold(), []).append(number)
    for name in names:
        if name.casefold() not in by_name:
            detail = f"classes: the model has no '{name}'. {known_classes(labels)}"
            raise DarkroomError("unknown_class", 400, detail, field="classes")
    return np.array([number for name in names for number in by_name[name.casefold()]], np.int64)


def known_classes(labels: Sequence[str]) -> str:
    """In a sentence."""
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return f"It has: {', '.join(labels[:MOST_NAMED])}{more}."


def select(
    request: DetectionRequest, labels: Sequence[str], wanted: Array | None, boxes: Array, scores: Array, classes: Array
) -> list[Found]:
    """`boxes` (N, 4): left, top, right, bottom in pixels of the picture; they are cut at its edges.

    Boxes that are not numbers, or have no area, are left out.
    """
    keep = is_usable(boxes, scores) & (scores >= request.threshold)
    if wanted is not None:
        keep &= np.isin(classes, wanted)
    boxes = cut_at_edges(boxes[keep], request.picture.size)
    scores, classes = scores[keep], classes[keep]
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores, classes = boxes[has_area], scores[has_area], classes[has_area]
    order = np.argsort(-scores, kind="stable")[: request.max_detections]
    return [
        Found(labels[int(classes[place])], int(classes[place]), float(scores[place]), Box(*map(float, boxes[place])))
        for place in order
    ]


def is_usable(boxes: Array, scores: Array) -> Array:
    """Numbers, and not turned inside out."""
    with np.errstate(invalid="ignore"):
        upright = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    found: Array = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & upright
    return found


def cut_at_edges(boxes: Array, size: tuple[int, int]) -> Array:
    return np.clip(boxes, 0, np.array([*size, *size], boxes.dtype))


def suppress_overlaps(boxes: Array, scores: Array, classes: Array, iou: float) -> Array:
    """The places that stay, the best score first: of two boxes of one class that overlap more than `iou` the better one.

    Of the MOST_CANDIDATES best. OpenCV's takes a third of the time of plain numpy's, which a test compares it with.
    """
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    if not len(order) or iou >= 1:
        return order
    corners = boxes[order].astype(np.float64)
    sizes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    suppress: Any = cv2.dnn.NMSBoxesBatched  # its stubs know lists alone
    kept = suppress(sizes, scores[order].astype(np.float32), classes[order].astype(np.int32), -1.0, iou)
    places: Array = order[np.sort(np.asarray(kept, np.int64).reshape(-1))]
    return places
