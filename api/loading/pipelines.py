"""Diffusers checkpoints: from a folder to a pipeline, and one set of components for each of its tasks.  [torch; no Django]"""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    DiffusionPipeline,
)
from diffusers.utils import logging as diffusers_logging

from api.catalog import ModelEntry
from api.devices import Device
from api.downloads.snapshots import WEIGHTS, variant_of
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import check_checkpoint
from api.loading.memory import estimate_files, modules_of

diffusers_logging.disable_progress_bar()  # progress is told to the job, not to the log

TASKS = {
    "text-to-image": AutoPipelineForText2Image,
    "image-to-image": AutoPipelineForImage2Image,
    "inpainting": AutoPipelineForInpainting,
}
OFFLOAD_STATE = ("_all_hooks", "_offload_device", "_offload_gpu_id")


def make_builder() -> Builder:
    return Builder(build=build_pipeline, estimate=estimate_bytes, view=view_for_task, tasks=tuple(TASKS))


def build_pipeline(entry: ModelEntry, folder: Path, device: Device) -> DiffusionPipeline:
    """Load from the folder alone (no network, no pickle, no repository's code) in the dtype and layout that fit the device.

    The pipeline is still in main memory: the loader moves it, or has it offloaded. Raises DarkroomError for a damaged checkpoint.
    """
    check_checkpoint(entry, folder, weight_files(folder))
    index = _read_json(folder / "model_index.json")
    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    pipeline = DiffusionPipeline.from_pretrained(
        folder,
        dtype=choose_dtype(folder, device),
        variant=installed_variant(folder),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    if device.channels_last:
        for name in modules_of(pipeline).keys() & {"unet", "vae"}:
            with contextlib.suppress(RuntimeError):  # a VAE with three-dimensional convolutions has no such layout
                getattr(pipeline, name).to(memory_format=torch.channels_last)
    return pipeline


def view_for_task(pipeline: DiffusionPipeline, task: str) -> DiffusionPipeline:
    """A pipeline of the task over the very same components. Raises DarkroomError where the family has no such pipeline."""
    try:
        view = TASKS[task].from_pipe(pipeline)
    except ValueError as error:
        raise DarkroomError(
            "unsupported_task", 400, f"This kind of model ({type(pipeline).__name__}) has no {task}."
        ) from error
    if type(view) is type(pipeline):
        return pipeline
    view.set_progress_bar_config(disable=True)
    for name in OFFLOAD_STATE:
        if hasattr(pipeline, name):
            setattr(view, name, getattr(pipeline, name))
    return view


def choose_dtype(folder: Path, device: Device) -> torch.dtype:
    """The device's dtype, with two exceptions at half precision.

    Diffusion transformers (FLUX, SD 3, Qwen-Image …) are trained in bf16 and overflow in fp16. SDXL's first VAE overflows in
    fp16 too and says so (`force_upcast`): in bf16 it does not; where bf16 is slow, the pipeline itself decodes in fp32.
    """
    if device.dtype == torch.float32:
        return device.dtype
    index = _read_json(folder / "model_index.json")
    if "transformer" in index:
        return torch.bfloat16
    vae = folder / "vae" / "config.json"
    overflows = str(index.get("_class_name", "")).startswith("StableDiffusionXL") and _read_json(vae).get("force_upcast", True)
    return torch.bfloat16 if overflows and device.is_fast(torch.bfloat16) else device.dtype


def installed_variant(folder: Path) -> str | None:
    """The variant ("fp16") that some component has its weights in, and in no other form."""
    for component in _components(folder):
        variants = {variant_of(file.name) for file in component}
        if None not in variants:
            return min(str(variant) for variant in variants)
    return None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a load would read."""
    variant = installed_variant(folder)
    chosen = []
    for component in _components(folder):
        of_variant = [file for file in component if variant and variant_of(file.name) == variant]
        chosen += of_variant or [file for file in component if variant_of(file.name) is None]
    return chosen


def _components(folder: Path) -> list[list[Path]]:
    files = [file for file in sorted(folder.glob("*/*.safetensors")) if WEIGHTS.fullmatch(file.name)]
    return [list(group) for _, group in itertools.groupby(files, key=lambda file: file.parent)]


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory, from the headers of their files. Raises DarkroomError for a damaged file."""
    return estimate_files(entry, folder, weight_files(folder), choose_dtype(folder, device))


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
