"""Finds things with a detector of transformers that has classes of its own.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from api.errors import DarkroomError
from api.loading.detectors import TorchDetector
from api.vision.backends.box_selection import select, wanted_classes
from api.vision.detection import DetectionRequest, Found

ALL_SCORES = -1.0
"""A threshold that leaves all; each request has its own."""
LONGEST_TO_SHORTEST = 20
"""Image processors scale the shorter side, and a picture that is much longer would have no pixel of it left."""


def detect_closed(
    detector: TorchDetector, requests: Sequence[DetectionRequest], batch_size: int, device: Any
) -> list[list[Found] | DarkroomError]:
    """Pictures whose inputs have one size go through the network together."""
    results: dict[int, list[Found] | DarkroomError] = {}
    prepared: dict[int, Any] = {}
    for place, request in enumerate(requests):
        try:
            wanted_classes(request, detector.labels)
            prepared[place] = prepare(detector.processor, request.picture)
        except DarkroomError as error:
            results[place] = error
    for places in in_batches({place: tuple(found["pixel_values"].shape) for place, found in prepared.items()}, batch_size):
        outputs = run_model(detector.model, [prepared[place] for place in places], device)
        sizes = [padded_size(requests[place].picture.size)[::-1] for place in places]
        found = detector.processor.post_process_object_detection(outputs, threshold=ALL_SCORES, target_sizes=sizes)
        results |= {place: read_output(detector, requests[place], one) for place, one in zip(places, found, strict=True)}
    return [results[place] for place in range(len(requests))]


def read_output(detector: TorchDetector, request: DetectionRequest, found: dict[str, torch.Tensor]) -> list[Found]:
    boxes, scores, classes = (found[name].float().numpy() for name in ("boxes", "scores", "labels"))
    wanted = wanted_classes(request, detector.labels)
    return select(request, detector.labels, wanted, boxes.astype(np.float64), scores, classes.astype(np.int64))


def prepare(processor: Any, picture: Image.Image) -> Any:
    """The network's inputs of one picture; a batch of its own, so that what is beside it changes nothing."""
    return processor(images=padded(picture), return_tensors="pt")


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    least = -(-max(size) // LONGEST_TO_SHORTEST)
    return max(size[0], least), max(size[1], least)


def padded(picture: Image.Image) -> Image.Image:
    """Of a very long one, with black below or on its right: the places of all its pixels stay."""
    size = padded_size(picture.size)
    if size == picture.size:
        return picture
    canvas = Image.new("RGB", size)
    canvas.paste(picture)
    return canvas


def in_batches(shapes: dict[int, Any], batch_size: int) -> Iterator[list[int]]:
    """Places with equal shapes together, at most so many."""
    groups: dict[Any, list[int]] = {}
    for place, shape in shapes.items():
        groups.setdefault(shape, []).append(place)
    for places in groups.values():
        for start in range(0, len(places), batch_size):
            yield places[start : start + batch_size]


def run_model(model: Any, prepared: Sequence[Any], device: Any) -> Any:
    """One forward pass. The outputs are on the CPU."""
    names = [name for name in prepared[0] if isinstance(prepared[0][name], torch.Tensor)]
    given = {name: torch.cat([one[name] for one in prepared]).to(device) for name in names}
    with torch.inference_mode():
        outputs = model(**given)
    for name in ("logits", "pred_boxes"):
        outputs[name] = outputs[name].float().cpu()
    return outputs
