"""From a request to a row, by the pipelines' own preparation and in their order of random draws.  [torch]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from api.errors import DarkroomError
from api.images.backends.engine.coefficients import coefficient_table
from api.images.backends.engine.conditioning import make_conditionings
from api.images.backends.engine.control import RowControl
from api.images.backends.engine.first_latents import add_at, draw_after_encoding, draw_noise, fill_change, mix_noise
from api.images.backends.engine.image_attention import ImagePrompt
from api.images.backends.engine.rows import Inpainting, Row, Source
from api.images.backends.engine.schedules import make_row_scheduler
from api.images.backends.engine.table_steps import TableRow
from api.images.backends.engine.tasks import Task
from api.images.backends.inputs import network_mask, source_image
from api.images.prompt_syntax.embedding_names import NamedEmbedding
from api.images.scheduler_presets import SCHEDULERS
from api.images.seeds import SeedShare
from api.images.spec import INPAINTING, LATENT_FILLS, Img2ImgSpec
from api.model_loader import Lease


@dataclass(frozen=True)
class Start:
    """What a row begins with."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    inpainting: Inpainting | None = None


def make_row(
    lease: Lease,
    task: Task,
    number: int,
    *,
    by_table: bool,
    embeddings: Sequence[NamedEmbedding] = (),
    controls: tuple[RowControl, ...] = (),
    image_prompts: tuple[ImagePrompt, ...] = (),
) -> Row:
    """Row `number` of a task, at its first pass. Runs the text encoders, and the VAE where there is a source picture.

    `by_table`: whether its steps are made by a coefficient table, where its scheduler has one, rather than by the scheduler's object:
    those of many rows are then a few operations together, and a device never waits for them.

    Raises DarkroomError for what is wrong with the request.
    """
    spec = task.request.spec
    pipeline, scheduler = pipeline_for(lease, task)
    seed, shares = spec.noise_of(number)
    generator = torch.Generator("cpu").manual_seed(seed)
    start = _start(pipeline, scheduler, task, generator, shares)
    height, width = (side * pipeline.vae_scale_factor for side in start.latents.shape[-2:])
    steps = ceil(len(start.timesteps) / scheduler.order)
    conditioning, *later = make_conditionings(
        pipeline, spec, (height, width), steps, embeddings, task.hooks.warn, lease.entry.guidance_rescale
    )
    eta = SCHEDULERS[spec.scheduler].eta if spec.scheduler else 0.0
    return Row(
        task=task,
        number=number,
        latents=start.latents.float(),
        scheduler=scheduler,
        table_row=_table_row(scheduler, start, generator, eta) if by_table else None,
        timesteps=start.timesteps,
        device_timesteps=start.timesteps.to(pipeline._execution_device, torch.float32).split(1),
        step_arguments=pipeline.prepare_extra_step_kwargs(generator, eta),
        conditioning=conditioning,
        later_conditionings=later,
        inpainting=start.inpainting,
        controls=controls,
        image_prompts=image_prompts,
    )


def _table_row(scheduler: Any, start: Start, generator: torch.Generator, eta: float) -> TableRow | None:
    """None where the scheduler is no table: one that clips, say."""
    begin = len(scheduler.timesteps) - len(start.timesteps)
    table = coefficient_table(scheduler, begin=begin, eta=eta)
    return TableRow(table, start.latents.float(), generator) if table else None


def pipeline_for(lease: Lease, task: Task) -> tuple[Any, Any]:
    """The pipeline of the request's task, with a scheduler that is this row's alone."""
    spec = task.request.spec
    pipeline = lease.loaded_model.pipeline_for(spec.task)
    if spec.task != INPAINTING and pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        detail = f"{lease.entry.name} is a model for inpainting, which takes a picture and a mask with each request."
        raise DarkroomError("unsupported_task", 400, detail, field="model_id")
    scheduler = make_row_scheduler(spec.scheduler, pipeline.scheduler, lease.entry.family, spec.steps)
    return lease.pipeline_with(spec.task, scheduler=scheduler), scheduler


def _start(pipeline: Any, scheduler: Any, task: Task, generator: torch.Generator, shares: Sequence[SeedShare]) -> Start:
    """`shares`: other seeds whose noise is mixed in."""
    kept = vars(scheduler).get("alphas_cumprod")
    try:
        spec = task.request.spec
        if not isinstance(spec, Img2ImgSpec):
            return _from_noise(pipeline, scheduler, task, generator, shares)
        if spec.task == INPAINTING:
            return _from_masked_picture(pipeline, task, spec, generator, shares)
        return _from_picture(pipeline, task, spec, generator, shares)
    finally:
        if kept is not None:
            scheduler.alphas_cumprod = kept  # `add_noise` moves it to the device, from where each step would read it


def _from_noise(pipeline: Any, scheduler: Any, task: Task, generator: torch.Generator, shares: Sequence[SeedShare]) -> Start:
    spec, device = task.request.spec, pipeline._execution_device
    channels = pipeline.unet.config.in_channels

    def draw(generator: torch.Generator) -> torch.Tensor:
        latents: torch.Tensor = pipeline.prepare_latents(1, channels, spec.height, spec.width, torch.float32, device, generator)
        return latents

    return Start(mix_noise(draw(generator), shares, draw), scheduler.timesteps)


def _from_picture(
    pipeline: Any, task: Task, spec: Img2ImgSpec, generator: torch.Generator, shares: Sequence[SeedShare]
) -> Start:
    device, own = pipeline._execution_device, torch.Generator("cpu").manual_seed(generator.initial_seed())
    timesteps, _ = pipeline.get_timesteps(spec.steps, spec.strength, "cpu")
    encoded = task.request.latents
    if encoded is None:
        picture, dtype = pipeline.image_processor.preprocess([source_image(task.request)]), pipeline.vae.dtype
    else:
        picture, dtype = encoded, torch.float32
    latents = pipeline.prepare_latents(picture, timesteps[:1], 1, 1, dtype, device, generator)
    if shares:
        draw = draw_after_encoding(latents) if encoded is None else draw_noise(latents)
        noise = draw(own)
        latents = latents + add_at(pipeline.scheduler, timesteps[:1], noise=mix_noise(noise, shares, draw) - noise)
    return Start(latents, timesteps)


def _from_masked_picture(
    pipeline: Any, task: Task, spec: Img2ImgSpec, generator: torch.Generator, shares: Sequence[SeedShare]
) -> Start:
    device, dtype, size = pipeline._execution_device, pipeline.vae.dtype, (spec.height, spec.width)
    picture = pipeline.image_processor.preprocess([source_image(task.request)], *size, resize_mode="default").float()
    mask = pipeline.mask_processor.preprocess(
        [network_mask(task.request, pipeline.vae_scale_factor)], *size, resize_mode="default"
    )
    timesteps, _ = pipeline.get_timesteps(spec.steps, spec.strength, "cpu")
    from_noise = spec.strength == 1.0
    lays_source_back = pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels
    fills_latents = spec.fill in LATENT_FILLS and not from_noise
    latents, noise, *source = pipeline.prepare_latents(
        1,
        pipeline.vae.config.latent_channels,
        *size,
        dtype,
        device,
        generator,
        image=picture,
        timestep=timesteps[:1],
        is_strength_max=from_noise,
        return_noise=True,
        return_image_latents=lays_source_back or fills_latents,
    )
    if shares:
        change = mix_noise(noise, shares, draw_after_encoding(noise)) - noise
        scaled = change * pipeline.scheduler.init_noise_sigma
        latents = latents + (scaled if from_noise else add_at(pipeline.scheduler, timesteps[:1], noise=change))
        noise = noise + change
    masked_picture = picture * (mask < 0.5)  # encoded in any case: that draws from the generator
    mask, masked_source = pipeline.prepare_mask_latents(mask, masked_picture, 1, *size, dtype, device, generator, False)
    if fills_latents:
        filled = fill_change(spec.fill, source[0], mask, generator)
        latents = latents + add_at(pipeline.scheduler, timesteps[:1], picture=filled)
    if lays_source_back:
        return Start(latents, timesteps, Inpainting(mask.float(), source=Source(source[0].float(), noise.float())))
    return Start(latents, timesteps, Inpainting(mask.float(), masked_source=masked_source.float()))
