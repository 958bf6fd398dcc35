"""Finds things with a YOLO that was exported to ONNX (api/loading/yolo.py has its layouts).  No torch, no Django."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.errors import DarkroomError
from api.loading.yolo import YoloModel
from api.vision.backends.box_selection import MOST_CANDIDATES, is_usable, select, suppress_overlaps, wanted_classes
from api.vision.backends.letterbox import Letterbox
from api.vision.detection import DetectionRequest, Found

Array = NDArray[Any]
TOLERANCE = 1e-2
"""How far a score may lie outside 0..1: half precision rounds."""


def detect_yolo(model: YoloModel, requests: Sequence[DetectionRequest], batch_size: int) -> list[list[Found] | DarkroomError]:
    results: list[list[Found] | DarkroomError] = []
    size = model.batch or batch_size
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        boxes = [Letterbox.of(request.picture.size, (model.width, model.height)) for request in part]
        pictures = np.stack([box.apply(request.picture) for box, request in zip(boxes, part, strict=True)])
        missing = (model.batch or len(part)) - len(part)
        given = np.concatenate([pictures, np.zeros((missing, *pictures.shape[1:]), np.float32)]) if missing else pictures
        outputs = model.run(given)
        results += [read_output(model, *one) for one in zip(part, boxes, outputs[: len(part)], strict=True)]
    return results


def read_output(
    model: YoloModel, request: DetectionRequest, letterbox: Letterbox, output: Array
) -> list[Found] | DarkroomError:
    """Of one picture."""
    try:
        wanted = wanted_classes(request, model.labels)
        read = read_raw if model.layout == "raw" else read_selected
        boxes, scores, classes = read(model, request, wanted, output)
    except DarkroomError as error:
        return error
    return select(request, model.labels, wanted, letterbox.to_picture(boxes), scores, classes)


def read_raw(model: YoloModel, request: DetectionRequest, wanted: Array | None, output: Array) -> tuple[Array, Array, Array]:
    """(4 + classes, N): of each box its best class, and of boxes that overlap the best one."""
    by_class = output[4:]
    if wanted is not None:
        by_class = by_class[wanted]
    best = by_class.argmax(axis=0)
    scores = by_class[best, np.arange(by_class.shape[1])]
    classes = best if wanted is None else wanted[best]
    keep = scores >= request.threshold
    if keep.sum() > MOST_CANDIDATES:
        keep[np.argsort(-scores, kind="stable")[MOST_CANDIDATES:]] = False
    scores, classes, (x, y, width, height) = scores[keep], classes[keep], output[:4, keep].astype(np.float64)
    with np.errstate(invalid="ignore"):
        boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    usable = is_usable(boxes, scores)
    boxes, scores, classes = boxes[usable], checked(scores[usable]), classes[usable]
    kept = suppress_overlaps(boxes, scores, classes, request.iou)
    return boxes[kept], scores[kept], classes[kept]


def read_selected(
    model: YoloModel, request: DetectionRequest, wanted: Array | None, output: Array
) -> tuple[Array, Array, Array]:
    """(N, 6): left, top, right, bottom, score, class."""
    rows = output[np.isfinite(output).all(axis=1)]
    classes = rows[:, 5].astype(np.int64)
    if ((classes < 0) | (classes >= len(model.labels)) | (classes != rows[:, 5])).any():
        detail = f"The model gave a class that it has no name for: it names {len(model.labels)}."
        raise DarkroomError("broken_model", 422, detail)
    return rows[:, :4], checked(rows[:, 4]), classes


def checked(scores: Array) -> Array:
    """Raises DarkroomError for what are no scores: a file whose last layer is missing gives logits."""
    if len(scores) and (scores.min() < -TOLERANCE or scores.max() > 1 + TOLERANCE):
        raise DarkroomError("broken_model", 422, "The model's scores are not from 0 to 1, so this is no output of a detector.")
    return np.clip(scores, 0, 1)
