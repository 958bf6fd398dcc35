"""Detectors: from a folder to what finds things in pictures.  [torch; no Django]

A folder with a .onnx file is an exported YOLO (api/loading/yolo.py); any other is a checkpoint of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
)

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.permitted_files import WEIGHTS
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import load_complete
from api.loading.device_memory import estimate_files
from api.loading.onnx import bytes_of
from api.loading.timm_resnets import backbone_without_timm
from api.loading.torch_checkpoints import TorchCheckpoint
from api.loading.yolo import YoloModel, load_yolo, tidy_label

LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}
OPEN_VOCABULARY = "zero-shot-object-detection"
GROUNDING, OWL = ("grounding-dino", "mm-grounding-dino"), ("owlv2", "owlvit")
CLOSED = (
    "rt_detr", "rt_detr_v2", "d_fine", "detr", "conditional_detr", "deformable_detr", "lw_detr", "yolos", "table-transformer",
)  # fmt: skip
"""transformers' model_types that are run: those whose image processors need no torchvision and give boxes."""


class TorchDetector(TorchCheckpoint):
    """Of an open vocabulary: its processor is one of pictures and words, and there are no labels."""


def make_builder() -> Builder:
    return Builder(build=build_detector, estimate=estimate_bytes)


def build_detector(entry: ModelEntry, folder: Path, device: Device) -> YoloModel | TorchDetector:
    """Load from the folder alone. Raises DarkroomError.

    In float32 on every device: a box in pixels of a large picture has more digits than half precision.
    """
    if file := onnx_file(entry, folder):
        return load_yolo(entry, file)
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    known = (*GROUNDING, *OWL) if entry.task == OPEN_VOCABULARY else CLOSED
    if model_type not in known:
        detail = f"its model_type is {model_type!r}, and for the task {entry.task} there are {', '.join(known)}"
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be used as a detector: {detail}.")
    if entry.task == OPEN_VOCABULARY:
        model = load_model(AutoModelForZeroShotObjectDetection, entry, folder)
        return TorchDetector(model, AutoProcessor.from_pretrained(folder, **LOCAL_ONLY), model_type, ())
    config = AutoConfig.from_pretrained(folder, **LOCAL_ONLY)
    renamed = backbone_without_timm(entry, config)
    model = load_model(AutoModelForObjectDetection, entry, folder, config=config, key_mapping=renamed or None)
    processor = AutoImageProcessor.from_pretrained(folder, **LOCAL_ONLY)
    return TorchDetector(model, processor, model_type, labels_of(model.config.id2label))


def labels_of(id2label: Mapping[int | str, object]) -> tuple[str, ...]:
    """The names of a configuration's classes, by their numbers."""
    labels = {int(number): tidy_label(str(label)) for number, label in id2label.items()}
    return tuple(labels.get(number, f"class {number}") for number in range(max(labels, default=-1) + 1))


def load_model(model_class: object, entry: ModelEntry, folder: Path, **options: object) -> Any:
    model = load_complete(model_class, entry, folder, dtype=torch.float32, use_safetensors=True, **LOCAL_ONLY, **options)
    return model.eval().requires_grad_(False)


def onnx_file(entry: ModelEntry, folder: Path) -> Path | None:
    """The folder's exported model. Raises DarkroomError where there are several."""
    files = sorted(folder.glob("*.onnx"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be loaded: its folder has several models ({names}).")
    return files[0] if files else None


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    if file := onnx_file(entry, folder):
        return bytes_of(file)
    files = [file for file in sorted(folder.glob("*.safetensors")) if WEIGHTS.fullmatch(file.name)]
    return estimate_files(entry, folder, files, torch.float32)
