"""What a detector is asked and what it finds. No Django, no torch: the backends import torch, and web processes read this."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from api.vision.boxes import Box
from api.vision.spec import DEFAULT_IOU

DETECTION, OPEN_VOCABULARY = "object-detection", "zero-shot-object-detection"
"""The catalog's tasks: models with classes of their own, and models that look for words."""


@dataclass(frozen=True)
class Found:
    """One thing. `class_id`: the model's number of the class; of an open-vocabulary model the word's place in the request."""

    label: str
    class_id: int
    score: float
    box: Box


@dataclass(frozen=True)
class DetectionRequest:
    """One picture (RGB), and what of it is wanted."""

    picture: Image.Image
    threshold: float = 0.25
    iou: float = DEFAULT_IOU
    classes: tuple[str, ...] | None = None
    max_detections: int = 100
