"""The registry of builders: how a model is loaded, by its catalog entry's task.  [torch; no Django]

A new task is a line in `MODULES` and a module beside this one with `make_builder() -> Builder`. It is imported when a model of
its task is first wanted: some libraries take seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.catalog import ModelEntry
from api.errors import DarkroomError

MODULES = {
    "text-to-image": "api.loading.pipelines",
    "zero-shot-image-classification": "api.loading.clip",
    "image-text-to-text": "api.loading.chat",
    "text-generation": "api.loading.chat",
    "aesthetic-head": "api.loading.heads",
    "image-aesthetics": "api.loading.nima",
    "hazard-cells": "api.loading.hazards",
    "object-detection": "api.loading.detectors",
    "zero-shot-object-detection": "api.loading.detectors",
    "image-segmentation": "api.loading.segmenters",
    "mask-generation": "api.loading.segmenters",
    "image-classification": "api.loading.classifiers",
    "ocr": "api.loading.ocr",
    "upscaling": "api.loading.upscaling.building",
    "controlnet": "api.loading.controlnets",
    "ip-adapter": "api.loading.ip_adapters",
    "image-encoder": "api.loading.image_encoders",
    "onnx": "api.loading.onnx",
}


@dataclass(frozen=True)
class Builder:
    """How models of one task are loaded; a capability outside this tree registers its own with `register_builder`."""

    build: Callable[..., Any]
    """(entry, folder, device): from a verified folder (or file) to what stays in memory: a diffusers pipeline, a torch module, a dict of
    parts, or any object with `components` (a dict of parts) or `nbytes`. Modules are moved to the device by the loader."""
    estimate: Callable[..., int]
    """(entry, folder, device), and the base's folder as for `build`: bytes that the weights will take, before they are loaded; room
    is made for them."""
    pipeline_for: Callable[[Any, str], Any] = lambda loaded, task: loaded
    """(loaded, task): what `lease.pipeline` is for a task; shares the weights of `loaded`."""
    tasks: tuple[str, ...] = ()
    """The lease's tasks beside the entry's own."""
    takes_base: bool = False
    """`build` and `estimate` are given a fourth argument, the folder of the entry's `base`, where the entry has one."""


_builders: dict[str, Builder] = {}


def register_builder(task: str, builder: Builder) -> None:
    """Say how catalog entries of `task` are loaded."""
    _builders[task] = builder


def builder_for(entry: ModelEntry, task: str) -> Builder:
    """How `entry` is loaded for `task`. Raises DarkroomError (unsupported_task)."""
    key = "onnx" if entry.onnx_variant else entry.task
    if key not in _builders and key in MODULES:
        register_builder(key, _import_builder(MODULES[key]))
    builder = _builders.get(key)
    if builder is None or task not in (entry.task, *builder.tasks):
        raise DarkroomError("unsupported_task", 400, f"{entry.name} is for {entry.task}; it can't do {task}.")
    return builder


def _import_builder(module: str) -> Builder:
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()  # it warns of every image processor while diffusers is imported
    transformers_logging.disable_progress_bar()  # progress is told to the job, not to the log
    builder: Builder = importlib.import_module(module).make_builder()
    return builder
