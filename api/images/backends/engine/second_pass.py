"""The second pass of a request with `hires`: what img2img makes of the first pass's latents, or picture, once it is enlarged.  [torch]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import torch
import torch.nn.functional as functional
from PIL import Image

from api.errors import DarkroomError
from api.images.backends.engine.control import ControlNets, make_controls
from api.images.backends.engine.new_rows import make_row, pipeline_for
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task, TaskHooks
from api.images.backends.latents import decode_batch
from api.images.backends.request import ImageRequest
from api.images.backends.upscalers.enlarge import enlarge
from api.images.hires import LATENT, HiresUse, enlarged_size
from api.images.prompt_syntax.embedding_names import NamedEmbedding
from api.images.spec import Img2ImgSpec, Txt2ImgSpec
from api.model_loader import Lease, ModelLoader
from api.specs import InputTransparentImage, fields_of


def expect_second_pass(lease: Lease, row: Row) -> None:
    """Counts its steps with those of the first, where the request wants one."""
    if row.task.request.spec.hires is None:
        return
    spec = second_spec(row.task.request.spec)
    pipeline, scheduler = pipeline_for(lease, _second_task(row.task, ImageRequest(spec)))
    timesteps, _ = pipeline.get_timesteps(spec.steps, spec.strength, "cpu")
    row.steps_after = ceil(len(timesteps) / scheduler.order)


def make_second_row(
    loader: ModelLoader,
    lease: Lease,
    first: Row,
    controlnets: ControlNets,
    *,
    by_table: bool,
    embeddings: Sequence[NamedEmbedding] = (),
) -> Row:
    """From a row that is done. Raises DarkroomError."""
    spec, task = first.task.request.spec, first.task
    assert spec.hires is not None
    second = second_spec(spec)
    request = replace(task.request, spec=second, image=None, mask=None)
    if spec.hires.upscaler == LATENT:
        request = replace(request, latents=enlarge_latents(lease.pipeline, first.latents, second.width, second.height))
    else:
        picture = _decode(lease.pipeline, first.latents)
        size = second.width, second.height
        request = replace(request, image=enlarge_to(loader, spec.hires, picture, size, task.hooks))
    second_task = _second_task(task, request)
    controls = make_controls(lease, second_task, controlnets)
    row = make_row(
        lease,
        second_task,
        first.number,
        by_table=by_table,
        embeddings=embeddings,
        controls=controls,
        image_prompts=first.image_prompts,
    )
    row.task, row.steps_before = task, first.steps_done
    return row


def second_spec(spec: Txt2ImgSpec) -> Img2ImgSpec:
    """The second pass as a request of its own."""
    assert spec.hires is not None
    width, height = enlarged_size(spec.width, spec.height, spec.hires.scale)
    values = {one.name: getattr(spec, one.name) for one in fields_of(Txt2ImgSpec)}
    changed = {"width": width, "height": height, "steps": spec.hires.steps or spec.steps, "hires": None}
    return Img2ImgSpec(**{**values, **changed}, image=InputTransparentImage(""), strength=spec.hires.strength)


def enlarge_latents(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """(1, channels, h, w) to those of a picture of this size."""
    cell = pipeline.vae_scale_factor
    return functional.interpolate(latents, size=(height // cell, width // cell), mode="bilinear", align_corners=False)


def enlarge_to(
    loader: ModelLoader, use: HiresUse, picture: Image.Image, size: tuple[int, int], hooks: TaskHooks
) -> Image.Image:
    """By the request's upscaler, and by Lanczos to the very size."""
    scale = min(4, max(2, ceil(size[0] / picture.width)))
    enlarged = enlarge(loader, use.upscaler, picture, scale, _TileHooks(hooks))
    return enlarged.resize(size, Image.Resampling.LANCZOS)


class _TileHooks:
    """A request that is cancelled meanwhile is dropped at the next pass."""

    def __init__(self, hooks: TaskHooks) -> None:
        self.on_load, self.warn = hooks.on_load, hooks.warn

    def on_tile(self, done: int, of: int) -> None:
        return


def _second_task(task: Task, request: ImageRequest) -> Task:
    return Task(request, task.hooks, task.take)


def _decode(pipeline: Any, latents: torch.Tensor) -> Image.Image:
    [decoded] = decode_batch(pipeline, latents)
    if isinstance(decoded, DarkroomError):
        raise decoded
    return decoded
