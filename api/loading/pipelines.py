"""Diffusers checkpoints: from a folder or a single file to a pipeline, and one set of components for each of its tasks.

[torch; no Django]
"""

from __future__ import annotations

import contextlib
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
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import check_checkpoint, read_json
from api.loading.device_memory import estimate_files, modules_of
from api.loading.dtypes import choose_dtypes
from api.loading.single_files.building import build_single_file, estimate_single_file, load_vae
from api.loading.weight_files import installed_variant, weight_files
from api.model_files.quantization import ON_CUDA, WHOLE, quantized_parts

diffusers_logging.disable_progress_bar()  # progress is told to the job, not to the log

TASKS = {
    "text-to-image": AutoPipelineForText2Image,
    "image-to-image": AutoPipelineForImage2Image,
    "inpainting": AutoPipelineForInpainting,
}
OFFLOAD_STATE = ("_all_hooks", "_offload_device", "_offload_gpu_id")


def make_builder() -> Builder:
    return Builder(
        build=build_pipeline,
        estimate=estimate_bytes,
        pipeline_for=pipeline_for_task,
        tasks=tuple(TASKS),
        takes_base=True,
    )


def build_pipeline(entry: ModelEntry, folder: Path, device: Device, base: Path | None = None) -> DiffusionPipeline:
    """Load from the disk alone (no network, no pickle, no repository's code) in the dtype and layout that fit the device.

    `folder` is the file itself where the entry is a single file; `base` is the folder of its base, whose parts it takes where it lacks
    them. The pipeline is still in main memory: the loader moves it, or has it offloaded. Raises DarkroomError for a damaged checkpoint.
    """
    if entry.single_file:
        return prepare_pipeline(build_single_file(entry, folder, device, base), device)
    check_checkpoint(entry, folder, weight_files(folder))
    check_quantized_parts(entry, folder, device)
    index = read_json(folder / "model_index.json")
    options: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    dtypes = choose_dtypes(folder, device)
    if entry.vae:
        options["vae"] = load_vae(entry, folder, dtypes)
    pipeline = DiffusionPipeline.from_pretrained(
        folder,
        dtype=dtypes,
        variant=installed_variant(folder),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **options,
    )
    return prepare_pipeline(pipeline, device)


def check_quantized_parts(entry: ModelEntry, folder: Path, device: Device) -> None:
    """Raises DarkroomError (unsupported_checkpoint): diffusers loads bitsandbytes' weights on a GPU alone."""
    for name, found in quantized_parts(folder).items():
        if found.method in ON_CUDA and device.type != "cuda":
            detail = f"the weights of its {name} are quantised by {found.method}, which is loaded on CUDA alone. {WHOLE}"
            raise DarkroomError(
                "unsupported_checkpoint", 422, f"{entry.name} can't be loaded on this {device.type} device: {detail}."
            )


def prepare_pipeline(pipeline: DiffusionPipeline, device: Device) -> DiffusionPipeline:
    """What every pipeline of ours gets, wherever its weights came from."""
    pipeline.set_progress_bar_config(disable=True)
    vae = getattr(pipeline, "vae", None)
    if vae is not None and vae.dtype != torch.float16:
        vae.register_to_config(force_upcast=False)  # the pipelines would take it to fp32 and then to the denoiser's dtype
        cast_inputs_to_own_dtype(vae)
    if device.channels_last:
        for name in modules_of(pipeline).keys() & {"unet", "vae"}:
            with contextlib.suppress(RuntimeError):  # a VAE with three-dimensional convolutions has no such layout
                getattr(pipeline, name).to(memory_format=torch.channels_last)
    return pipeline


def pipeline_for_task(pipeline: DiffusionPipeline, task: str) -> DiffusionPipeline:
    """A pipeline of the task over the very same components. Raises DarkroomError where the family has no such pipeline."""
    try:
        pipeline_for = TASKS[task].from_pipe(pipeline)
    except ValueError as error:
        raise DarkroomError(
            "unsupported_task", 400, f"This kind of model ({type(pipeline).__name__}) has no {task}."
        ) from error
    if type(pipeline_for) is type(pipeline):
        return pipeline
    pipeline_for.set_progress_bar_config(disable=True)
    for name in OFFLOAD_STATE:
        if hasattr(pipeline, name):
            setattr(pipeline_for, name, getattr(pipeline, name))
    return pipeline_for


def cast_inputs_to_own_dtype(vae: Any) -> None:
    """Pictures come to the encoder in the denoiser's dtype, latents to the decoder in the scheduler's: each is cast to the VAE's."""

    def cast(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            value.to(vae.dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value for value in inputs
        )

    for name in ("encoder", "post_quant_conv", "decoder"):
        if isinstance(part := getattr(vae, name, None), torch.nn.Module):
            part.register_forward_pre_hook(cast)


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device, base: Path | None = None) -> int:
    """What the weights will take in memory, from the headers of their files. Raises DarkroomError for a damaged file."""
    if entry.single_file:
        return estimate_single_file(entry, folder, device, base)
    dtypes = choose_dtypes(folder, device)
    return sum(
        estimate_files(entry, folder, [file], dtypes.get(file.parent.name, dtypes["default"])) for file in weight_files(folder)
    )
