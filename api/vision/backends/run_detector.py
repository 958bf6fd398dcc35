"""Finds things in the pictures of a batch with a model of the loader.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.errors import DarkroomError
from api.loading.detectors import TorchDetector
from api.loading.yolo import YoloModel
from api.model_loader import ModelLoader
from api.vision.backends.closed_vocabulary import detect_closed
from api.vision.backends.open_vocabulary import detect_open
from api.vision.backends.yolo import detect_yolo
from api.vision.detection import DetectionRequest, Found

MOST_AT_ONCE = 8
"""Pictures of one forward pass."""


@dataclass(frozen=True)
class Detections:
    """Of each request what was found, the best score first, or the error that is its own."""

    results: list[list[Found] | DarkroomError]
    notes: list[str]
    """Sentences about what the loader did, for the warnings of all."""
    uses_iou: bool
    """Whether overlapping boxes were dropped."""


def run_detector(loader: ModelLoader, model_id: str, requests: Sequence[DetectionRequest]) -> Detections:
    """Raises DarkroomError for what ends them all."""
    entry = loader.catalog.get(model_id)
    with loader.use(model_id, entry.task) as lease:
        model = lease.pipeline
        results: list[list[Found] | DarkroomError] = []
        for attempt in loader.retry_on_oom(lease, batch_size=min(len(requests), MOST_AT_ONCE)):
            with attempt:
                results = detect_with(model, requests, attempt.batch_size, lease.device.torch_device)
        return Detections(results, list(lease.notes), isinstance(model, YoloModel) and model.layout == "raw")


def detect_with(
    model: YoloModel | TorchDetector, requests: Sequence[DetectionRequest], batch_size: int, device: object
) -> list[list[Found] | DarkroomError]:
    if isinstance(model, YoloModel):
        return detect_yolo(model, requests, batch_size)
    detect = detect_closed if model.labels else detect_open
    return detect(model, requests, batch_size, device)
