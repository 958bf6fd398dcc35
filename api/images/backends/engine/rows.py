"""One picture while it is denoised.  [torch]"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import torch

from api.images.backends.engine.conditioning import Conditioning
from api.images.backends.engine.control import RowControl
from api.images.backends.engine.image_attention import ImagePrompt
from api.images.backends.engine.table_steps import TableRow
from api.images.backends.engine.tasks import Task


@dataclass(frozen=True)
class Source:
    """The latents of a source picture, and the noise that its row began with (1, channels, h, w)."""

    latents: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True)
class Inpainting:
    """What keeps the unpainted part of a picture, in the size of the latents."""

    mask: torch.Tensor
    """(1, 1, h, w): 1 where the picture is painted."""
    source: Source | None = None
    """For a UNet of 4 channels: noised, and laid back after each step."""
    masked_source: torch.Tensor | None = None
    """For a UNet of 9 channels: the latents of the source without its painted part."""


@dataclass(eq=False)
class Row:
    """One picture: its latents, scheduler and position; nothing of it depends on other rows."""

    task: Task
    number: int
    """Which seed of the task."""
    latents: torch.Tensor
    """(1, channels, h, w) in fp32."""
    scheduler: Any
    table_row: TableRow | None
    """The scheduler as numbers, which then makes the steps; None: the scheduler itself makes them."""
    timesteps: torch.Tensor
    """(passes,) on the CPU, as the scheduler has them; some schedulers make two passes for a step."""
    device_timesteps: tuple[torch.Tensor, ...]
    """(1,) for each pass, in fp32 on the device: taken apart once, not at every pass."""
    step_arguments: dict[str, Any]
    """Of `scheduler.step`: the row's generator, on the CPU, and eta, where the scheduler takes them."""
    conditioning: Conditioning
    """Of the step that comes next."""
    later_conditionings: list[Conditioning] = field(default_factory=list)
    """Of the steps behind it, where the prompt changes with them."""
    inpainting: Inpainting | None = None
    steps_before: int = 0
    """Of the row that this one goes on from, with an enlarged picture."""
    steps_after: int = 0
    """Of the row that will go on from this one."""
    controls: tuple[RowControl, ...] = ()
    image_prompts: tuple[ImagePrompt, ...] = ()
    position: int = 0
    """Passes that are done."""
    last_pass: int = 0
    """The engine's count of passes when this row was in one, for taking turns."""
    last_prediction: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    """Of the last pass: the UNet's output, the timestep and the latents before it; for previews."""

    @property
    def is_done(self) -> bool:
        return self.position == len(self.timesteps)

    @property
    def lays_source_back(self) -> bool:
        return self.inpainting is not None and self.inpainting.source is not None

    @property
    def steps(self) -> int:
        """With those before and after it."""
        return self.steps_before + ceil(len(self.timesteps) / self.scheduler.order) + self.steps_after

    @property
    def steps_done(self) -> int:
        return self.steps_before + ceil(self.position / self.scheduler.order)

    @property
    def acting_controls(self) -> list[RowControl]:
        """In the next pass."""
        return [control for control in self.controls if control.use.acts_at(self.position, len(self.timesteps))]

    def change_conditioning(self) -> None:
        """Before a pass: what the prompt says at its step."""
        step = self.position // self.scheduler.order + 1
        while self.later_conditionings and step > self.conditioning.last_step:
            self.conditioning = self.later_conditionings.pop(0)

    @property
    def guided(self) -> bool:
        return self.conditioning.negative is not None
