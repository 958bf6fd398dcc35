"""The mask of classes by a segmentation model of transformers.  [torch; no Django]"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from api.errors import DarkroomError
from api.loading.onnx import Array
from api.loading.segmenters import SEMANTIC, TorchSegmenter
from api.vision.backends.box_selection import class_numbers, known_classes
from api.vision.backends.closed_vocabulary import padded, padded_size

LEAST_SCORE = 0.5
"""Of a segment, that it is of its class."""


def find_class_mask(model: TorchSegmenter, picture: Image.Image, classes: tuple[str, ...] | None, device: Any) -> Array:
    """(height, width) float32 of 0..1, of the whole picture. Raises DarkroomError."""
    if not classes:
        detail = (
            f"classes: this model has classes, and must be told which of them are the subject. {known_classes(model.labels)}"
        )
        raise DarkroomError("classes_required", 400, detail, field="classes")
    wanted = torch.from_numpy(class_numbers(classes, model.labels))
    given = model.processor(images=padded(picture), return_tensors="pt")
    names = [name for name in ("pixel_values", "pixel_mask") if name in given]
    with torch.inference_mode():
        outputs = model.model(**{name: given[name].to(device) for name in names})
    find = semantic_mask if model.model_type in SEMANTIC else segments_mask
    mask = find(outputs, wanted)
    return within_picture(mask, given.get("pixel_mask"), picture.size)


def semantic_mask(outputs: Any, wanted: torch.Tensor) -> Array:
    """How likely each place is of one of the classes."""
    shares: Array = outputs.logits[0].float().cpu().softmax(dim=0)[wanted].sum(dim=0).numpy()
    return shares


def segments_mask(outputs: Any, wanted: torch.Tensor) -> Array:
    """The segments whose class is one of these, together."""
    logits = outputs.logits if "logits" in outputs else outputs.class_queries_logits
    masks = outputs.pred_masks if "pred_masks" in outputs else outputs.masks_queries_logits
    scores, classes = logits[0].float().cpu().softmax(dim=-1)[:, :-1].max(dim=-1)
    chosen = torch.isin(classes, wanted) & (scores >= LEAST_SCORE)
    shares = masks[0].float().cpu().sigmoid()[chosen]
    found: Array = shares.amax(dim=0).numpy() if len(shares) else np.zeros(tuple(masks.shape[-2:]), np.float32)
    return found


def within_picture(mask: Array, valid: torch.Tensor | None, size: tuple[int, int]) -> Array:
    """Without what the processor added below and on the right, and what a very long picture was padded with."""
    height, width = mask.shape
    across, down = size[0] / padded_size(size)[0], size[1] / padded_size(size)[1]
    if valid is not None:
        down *= float(valid[0].any(dim=1).float().mean())
        across *= float(valid[0].any(dim=0).float().mean())
    return mask[: max(1, round(height * down)), : max(1, round(width * across))]
