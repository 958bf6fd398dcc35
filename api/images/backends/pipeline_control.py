"""ControlNets of diffusion transformers, which run in diffusers' own pipelines.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    FluxMultiControlNetModel,
    SD3MultiControlNetModel,
)

from api.errors import DarkroomError
from api.images.backends.control_inputs import control_map
from api.images.backends.request import ImageRequest
from api.images.control.use import ControlUse, kind_of
from api.images.spec import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE
from api.model_loader import Lease

PIPELINES: dict[str, Any] = {
    TEXT_TO_IMAGE: AutoPipelineForText2Image,
    IMAGE_TO_IMAGE: AutoPipelineForImage2Image,
    INPAINTING: AutoPipelineForInpainting,
}
SEVERAL = {"sd3": SD3MultiControlNetModel, "flux": FluxMultiControlNetModel}
SIZES = {
    "sd3": ("in_channels", "patch_size", "pooled_projection_dim"),
    "flux": ("in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim", "pooled_projection_dim"),
}
"""Of a ControlNet's configuration: what it must have in common with the model's transformer."""
MODES = {"canny": 0, "tile": 1, "depth": 2, "pose": 4, "grey": 5}
"""Of a ControlNet Union for FLUX, by what the map is of (the model card of InstantX's FLUX.1-dev-Controlnet-Union)."""


class PipelineControls:
    """The control maps of requests that agree in all but prompts, seeds and source pictures.

    `leases`: of their ControlNets, one for each use with a weight above 0. Raises DarkroomError (control_mismatch, 400).
    """

    def __init__(self, model: Lease, numbered: Sequence[tuple[int, ControlUse]], leases: Sequence[Lease]) -> None:
        self._model, self._numbered = model, numbered
        self._networks = [lease.pipeline for lease in leases]
        for (number, _), lease in zip(numbered, leases, strict=True):
            check_fit(model, lease, number)
        self._modes = [mode_of(*used, lease) for used, lease in zip(numbered, leases, strict=True)]

    def __bool__(self) -> bool:
        return bool(self._numbered)

    def pipeline(self, pipeline: Any) -> Any:
        """Of the same components, steered."""
        several = SEVERAL[self._model.entry.family]
        network = self._networks[0] if len(self._networks) == 1 else several(self._networks)
        steered = PIPELINES[self._model.task].from_pipe(pipeline, controlnet=network)
        steered.set_progress_bar_config(disable=True)
        return steered

    def arguments(self, request: ImageRequest) -> dict[str, Any]:
        """For one picture of `request`."""
        uses = [use for _, use in self._numbered]
        arguments: dict[str, list[Any]] = {
            "control_image": [control_map(request, number) for number, _ in self._numbered],
            "controlnet_conditioning_scale": [use.weight for use in uses],
            "control_guidance_start": [use.start for use in uses],
            "control_guidance_end": [use.end for use in uses],
        }
        if self._model.entry.family == "flux":
            arguments["control_mode"] = self._modes
        return arguments if len(uses) > 1 else {name: values[0] for name, values in arguments.items()}


def check_fit(model: Lease, control: Lease, number: int) -> None:
    """By the sizes of both networks: a family has members of several."""
    theirs, ours = control.pipeline.config, model.pipeline.transformer.config
    if all(theirs[name] in (None, ours[name]) for name in SIZES[model.entry.family]):
        return
    raise DarkroomError(
        "control_mismatch",
        400,
        f"control[{number}]: {control.entry.name} is a ControlNet for networks of other sizes than {model.entry.name}.",
        field=f"control.{number}.model_id",
    )


def mode_of(number: int, use: ControlUse, control: Lease) -> int | None:
    """Which kind of map a ControlNet Union is told of; None for one of a single kind. Raises DarkroomError (control_kind, 400)."""
    modes = control.pipeline.config.get("num_mode")
    if not modes:
        return None
    kind = kind_of(use.kind, use.preprocessor)
    if kind in MODES and MODES[kind] < modes:
        return MODES[kind]
    known = ", ".join(name for name, mode in MODES.items() if mode < modes)
    detail = f"control[{number}]: {control.entry.name} reads maps of several kinds; say by `kind` which one this is: {known}."
    raise DarkroomError("control_kind", 400, detail, field=f"control.{number}.kind")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Some of these pipelines draw a map's latents from torch's own generator: inside, that depends on the picture's seed alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
