"""A second pass over the picture, enlarged: what a request says of it."""

from __future__ import annotations

from dataclasses import dataclass

from api.catalog import LONGEST_NAME
from api.images.scheduler_presets import MOST_STEPS
from api.specs import param

LATENT = "latent"
"""As an upscaler: the latents themselves are enlarged, without a picture in between."""
LARGEST_SCALE, LARGEST_SIDE, SIDE_STEP = 4, 4096, 8


@dataclass(frozen=True, kw_only=True)
class HiresUse:
    """The picture is enlarged, and made again from there as `POST /api/img2img/` does it."""

    scale: float = param(
        default=2.0, minimum=1, maximum=LARGEST_SCALE, help="How many times as wide and high, to the nearest multiples of 8."
    )
    steps: int | None = param(
        default=None,
        omitted=True,
        minimum=1,
        maximum=MOST_STEPS,
        help="Of the second pass, which runs the part of them that `strength` says; default: those of the first.",
    )
    strength: float = param(default=0.4, minimum=0, maximum=1, help="As of img2img: 0 keeps the picture, 1 forgets it.")
    upscaler: str = param(
        decided=True,
        max_length=LONGEST_NAME,
        help=f"`{LATENT}` enlarges the latents (it wants a strength of 0.5 or more); `lanczos` or an upscaler of "
        "`POST /api/upscale/` enlarges the picture. Default: `lanczos`.",
    )


def enlarged_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Of the second pass, for a first one of this size."""
    wide, high = (round(side * scale / SIDE_STEP) * SIDE_STEP for side in (width, height))
    return wide, high
