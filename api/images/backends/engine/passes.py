"""One pass of the UNet over rows of different requests, and each row's own scheduler step.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from api.images.backends.engine.conditioning import Guide
from api.images.backends.engine.rows import Row, Source

Unet = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class PassKey:
    """Rows with equal keys can share a pass."""

    height: int
    width: int
    """Of the latents."""
    has_masked_source: bool


def key_of(row: Row) -> PassKey:
    height, width = row.latents.shape[-2:]
    return PassKey(height, width, row.inpainting is not None and row.inpainting.masked_source is not None)


def tokens_of(row: Row) -> int:
    return row.conditioning.positive.tokens


def fit_tokens(rows: Sequence[Row]) -> list[Row]:
    """Those of `rows` whose numbers of tokens divide the largest among them, the first row's always.

    A prompt repeated whole changes no attention (each key and value counts as often as the others), a padded one would.
    """
    chosen = [rows[0]]
    for row in rows[1:]:
        lengths = [tokens_of(one) for one in (*chosen, row)]
        if all(max(lengths) % length == 0 for length in lengths):
            chosen.append(row)
    return chosen


@torch.no_grad()
def run_pass(unet: Any, rows: Sequence[Row]) -> None:
    """Each row one pass further. If the UNet raises, no row has changed. Rows have equal keys and fitting numbers of tokens."""
    ordered = sorted(rows, key=lambda row: not row.guided)
    outputs = predict(unet, ordered)
    for row, output in zip(ordered, outputs.split(1), strict=True):
        advance(row, output)


def predict(unet: Any, rows: Sequence[Row]) -> torch.Tensor:
    """The UNet's prediction for each row (n, channels, h, w) in fp32, after guidance. The guided rows come first."""
    guided = [row for row in rows if row.guided]
    inputs = [_input(row) for row in rows]
    guides = [row.conditioning.negative for row in guided] + [row.conditioning.positive for row in rows]
    entries = [*guided, *rows]
    sample = torch.cat([*inputs[: len(guided)], *inputs]).to(unet.dtype)
    timesteps = torch.cat([row.device_timesteps[row.position : row.position + 1] for row in entries])
    predicted = unet(
        sample,
        timesteps,
        encoder_hidden_states=_join_embeds([guide for guide in guides if guide is not None]),
        timestep_cond=_join([row.conditioning.guidance_embedding for row in entries], unet.dtype),
        added_cond_kwargs=_sizes([guide for guide in guides if guide is not None]),
        return_dict=False,
    )[0].float()
    return _guide(predicted, guided)


def advance(row: Row, output: torch.Tensor) -> None:
    """The scheduler's step, and for inpainting the source laid back around the mask. `output`: (1, channels, h, w)."""
    timestep = row.timesteps[row.position]
    row.last_prediction = output, timestep, row.latents
    row.latents = row.scheduler.step(output, timestep, row.latents, **row.step_arguments, return_dict=False)[0]
    row.position += 1
    if row.inpainting is not None and row.inpainting.source is not None:
        row.latents = _lay_back(row, row.inpainting.source, row.inpainting.mask)


def _input(row: Row) -> torch.Tensor:
    scaled = row.scheduler.scale_model_input(row.latents, row.timesteps[row.position])
    if row.inpainting is None or row.inpainting.masked_source is None:
        return scaled
    return torch.cat([scaled, row.inpainting.mask, row.inpainting.masked_source], dim=1)


def _guide(predicted: torch.Tensor, guided: Sequence[Row]) -> torch.Tensor:
    """Classifier-free guidance (arXiv:2207.12598, equation 6). `predicted`: the guided rows' negatives, then all positives."""
    if not guided:
        return predicted
    count = len(guided)
    negatives, positives, others = predicted[:count], predicted[count : 2 * count], predicted[2 * count :]
    scales = torch.cat([row.conditioning.scale for row in guided])
    return torch.cat([negatives + scales * (positives - negatives), others])


def _lay_back(row: Row, source: Source, mask: torch.Tensor) -> torch.Tensor:
    """The row's latents where it is painted, the source's elsewhere, noised as the next pass expects."""
    kept = source.latents
    if not row.is_done:
        picture_share, noise_share = _noising(row.scheduler, row.timesteps[row.position])
        kept = picture_share * source.latents + noise_share * source.noise
    return (1 - mask) * kept + mask * row.latents


def _noising(scheduler: Any, timestep: torch.Tensor) -> tuple[float, float]:
    """How much of a picture, and how much of noise, is in latents at `timestep`; asked on the CPU, so that no device waits."""
    one, zero, timesteps = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), timestep.reshape(1)
    return float(scheduler.add_noise(one, zero, timesteps)), float(scheduler.add_noise(zero, one, timesteps))


def _join_embeds(guides: Sequence[Guide]) -> torch.Tensor:
    longest = max(guide.tokens for guide in guides)
    return torch.cat([guide.embeds.repeat(1, longest // guide.tokens, 1) for guide in guides])


def _join(parts: Sequence[torch.Tensor | None], dtype: torch.dtype) -> torch.Tensor | None:
    there = [part for part in parts if part is not None]
    return torch.cat(there).to(dtype) if there else None


def _sizes(guides: Sequence[Guide]) -> dict[str, torch.Tensor] | None:
    if guides[0].pooled is None:
        return None
    pooled = [guide.pooled for guide in guides if guide.pooled is not None]
    sizes = [guide.sizes for guide in guides if guide.sizes is not None]
    return {"text_embeds": torch.cat(pooled), "time_ids": torch.cat(sizes)}
