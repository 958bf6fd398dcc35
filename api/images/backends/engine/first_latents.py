"""What a row's first latents are where a request asks for more than a seed's own noise over its picture: variations and fills.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from api.images.seeds import SeedShare
from api.images.spec import EMPTY


def mix_noise(
    noise: torch.Tensor, shares: Sequence[SeedShare], draw: Callable[[torch.Generator], torch.Tensor]
) -> torch.Tensor:
    """`draw` makes a seed's own noise, of the same scale."""
    for share in shares:
        other = draw(torch.Generator("cpu").manual_seed(share.seed))
        noise = interpolate(noise, other, share.strength)
    return noise


def interpolate(low: torch.Tensor, high: torch.Tensor, strength: float) -> torch.Tensor:
    """Spherically, so that noise stays noise; column by column (n, channels, height, width), as AUTOMATIC1111 does."""
    if strength == 0:
        return low
    low, high = low.float(), high.float()
    cosine = torch.nn.functional.cosine_similarity(low, high, dim=2).clamp(-0.9995, 0.9995)
    angle = torch.acos(cosine).unsqueeze(2)
    return (torch.sin((1 - strength) * angle) * low + torch.sin(strength * angle) * high) / torch.sin(angle)


def draw_noise(like: torch.Tensor) -> Callable[[torch.Generator], torch.Tensor]:
    """As diffusers draws noise for latents such as `like`."""
    return partial(_draw, like)


def draw_after_encoding(like: torch.Tensor) -> Callable[[torch.Generator], torch.Tensor]:
    """As the pipelines do where there is a picture: the sample of the VAE is drawn first."""

    def draw(generator: torch.Generator) -> torch.Tensor:
        _draw(like, generator)
        return _draw(like, generator)

    return draw


def _draw(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn: torch.Tensor = randn_tensor(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return drawn


def add_at(
    scheduler: Any, timestep: torch.Tensor, *, picture: torch.Tensor | None = None, noise: torch.Tensor | None = None
) -> Any:
    """What more of a picture, or of noise, adds to latents at a timestep: noising is linear in both."""
    zeros = torch.zeros_like(noise if picture is None else picture)  # type: ignore[arg-type]
    return scheduler.add_noise(zeros if picture is None else picture, zeros if noise is None else noise, timestep)


def fill_change(fill: str, source: torch.Tensor, mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """From the latents of a picture to those with `fill` under the mask."""
    filled = torch.zeros_like(source)
    if fill != EMPTY:
        filled = randn_tensor(source.shape, generator=generator, device=source.device, dtype=source.dtype)
    return mask.to(source.dtype) * (filled - source)
