"""Classifiers of pictures: from a folder of transformers to what gives each class its probability.  [torch; no Django]"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.detectors import LOCAL_ONLY, estimate_bytes, labels_of, load_model

KNOWN = ("vit", "deit", "beit", "swin", "swinv2", "convnext", "convnextv2", "dinov2", "siglip", "resnet")
"""transformers' model_types that are run: those whose image processors need no torchvision."""
MULTIPLE = "multi_label_classification"


@dataclass(frozen=True)
class PictureClassifier:
    """What a lease gets."""

    model: Any
    processor: Any
    labels: tuple[str, ...]
    """By the model's number of the class."""
    is_exclusive: bool
    """Whether each picture is of one class: then the probabilities of all classes add up to 1."""

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"model": self.model}


def make_builder() -> Builder:
    return Builder(build=build_classifier, estimate=estimate_bytes)


def build_classifier(entry: ModelEntry, folder: Path, device: Device) -> PictureClassifier:
    """Load from the folder alone, in float32 on every device. Raises DarkroomError."""
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if model_type not in KNOWN:
        detail = f"its model_type is {model_type!r}, and there are {', '.join(KNOWN)}"
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be used to classify pictures: {detail}.")
    model = load_model(AutoModelForImageClassification, entry, folder)
    processor = AutoImageProcessor.from_pretrained(folder, **LOCAL_ONLY)
    is_exclusive = model.config.problem_type != MULTIPLE
    return PictureClassifier(model, processor, labels_of(model.config.id2label), is_exclusive)
