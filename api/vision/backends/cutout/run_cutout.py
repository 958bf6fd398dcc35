"""Finds the subjects of the pictures of a batch with a model of the loader.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.errors import DarkroomError
from api.loading.onnx import Array
from api.loading.segmenters import OnnxSegmenter, Segmenter, TorchSegmenter
from api.model_loader import ModelLoader
from api.vision.backends.cutout.class_masks import find_class_mask
from api.vision.backends.cutout.onnx_masks import find_mask
from api.vision.backends.cutout.prompted_masks import find_prompted_mask
from api.vision.cutout.request import CutoutRequest


@dataclass(frozen=True)
class Masks:
    """Of each request the mask of the whole picture (height, width) of 0..1 at any size, or the error that is its own."""

    results: list[Array | DarkroomError]
    notes: list[str]
    """Sentences about what the loader did, for the warnings of all."""
    uses_classes: bool


def find_masks(
    loader: ModelLoader, model_id: str, requests: Sequence[CutoutRequest], on_progress: Callable[[float, str], None]
) -> Masks:
    """Raises DarkroomError for what ends them all."""
    entry = loader.catalog.get(model_id)
    loader.load(model_id, on_progress)
    with loader.use(model_id, entry.task) as lease:
        results: list[Array | DarkroomError] = []
        for attempt in loader.retry_on_oom(lease, batch_size=1):
            with attempt:
                results = [mask_or_error(lease.pipeline, request, lease.device.torch_device) for request in requests]
        return Masks(results, list(lease.notes), isinstance(lease.pipeline, TorchSegmenter))


def mask_or_error(model: Segmenter, request: CutoutRequest, device: Any) -> Array | DarkroomError:
    """Classes that the model does not have cost their own job alone."""
    if isinstance(model, OnnxSegmenter):
        return find_mask(model, request.picture)
    try:
        if not model.labels:
            return find_prompted_mask(model, request, device)
        return find_class_mask(model, request.picture, request.spec.classes, device)
    except DarkroomError as error:
        return error
