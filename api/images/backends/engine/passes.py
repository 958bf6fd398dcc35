"""One pass of the UNet over rows of different requests, and each row's own scheduler step.  [torch]"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from api.images.backends.engine import table_steps
from api.images.backends.engine.conditioning import Conditioning, Guide
from api.images.backends.engine.control import RowControl, find_residuals
from api.images.backends.engine.image_attention import (
    ARGUMENT,
    JoinedPrompt,
    join_image_prompts,
    reading_image_prompts,
)
from api.images.backends.engine.rows import Row, Source

NO_CONTROLNETS: Mapping[str, Any] = {}


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


def controls_of(rows: Sequence[Row]) -> list[list[RowControl]]:
    """For each row those that act in its next pass; [] where none does."""
    found = [row.acting_controls for row in rows]
    return found if any(found) else []


def controlnets_of(rows: Sequence[Row]) -> set[str]:
    """The ids of those that the next pass needs."""
    return {control.use.model_id for controls in controls_of(rows) for control in controls}


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


@dataclass(frozen=True)
class Joined:
    """What the rows of a pass are told beside latents and timesteps.

    Entries are the guided rows' negatives, all rows' positives, and the other parts of composed prompts.
    """

    places: tuple[int, ...]
    """Of each entry: which row it is of."""

    embeds: torch.Tensor
    guidance_embedding: torch.Tensor | None
    sizes: dict[str, torch.Tensor] | None
    scales: torch.Tensor | None
    """Of the guidance (guided rows, 1, 1, 1); None without guided rows."""
    rescales: tuple[float, ...]
    """Of the guided rows; () where none has any."""
    part_scales: torch.Tensor | None
    """(entries behind the positives, 1, 1, 1)."""
    image_prompts: list[JoinedPrompt]


class JoinCache:
    """Keeps what was joined for the last rows: they mostly go on together, and embeddings are many times the latents' size."""

    def __init__(self) -> None:
        self._kept: tuple[list[tuple[Row, Conditioning]], Joined] | None = None

    def join(self, rows: tuple[Row, ...], dtype: torch.dtype) -> Joined:
        key = [(row, row.conditioning) for row in rows]
        if self._kept is None or self._kept[0] != key:
            self._kept = key, join(rows, dtype)
        return self._kept[1]

    def clear(self) -> None:
        self._kept = None


@torch.no_grad()
def run_pass(
    unet: Any,
    rows: Sequence[Row],
    cache: JoinCache,
    controlnets: Mapping[str, Any] = NO_CONTROLNETS,
    around_step: Callable[[Row], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Each row one pass further. If it raises, no row has changed. Rows have equal keys and fitting numbers of tokens.

    `controlnets`: by their ids those that `controlnets_of(rows)` names. `around_step`: of one row, by its scheduler's object;
    what it lets through has perhaps changed rows.
    """
    for row in rows:
        row.change_conditioning()
    ordered = tuple(sorted(rows, key=lambda row: not row.guided))
    outputs = predict(unet, ordered, cache.join(ordered, unet.dtype), controlnets)
    for row, output in zip(ordered, outputs.split(1), strict=True):
        row.last_prediction = output, row.timesteps[row.position], row.latents
    by_table = [number for number, row in enumerate(ordered) if row.table_row is not None]
    if by_table:
        advance_by_tables([ordered[number] for number in by_table], _pick(outputs, by_table))
    for row, output in zip(ordered, outputs.split(1), strict=True):
        if row.table_row is None or row.lays_source_back:
            with around_step(row):
                finish_step(row, output)


def finish_step(row: Row, output: torch.Tensor) -> None:
    """What is left of a row's step behind the tables. `output`: (1, channels, h, w)."""
    if row.table_row is None:
        advance_by_scheduler(row, output)
    if row.inpainting is not None and row.inpainting.source is not None:
        row.latents = _lay_back(row, row.inpainting.source, row.inpainting.mask)


def join(rows: Sequence[Row], dtype: torch.dtype) -> Joined:
    """The guided rows come first."""
    negatives = [row.conditioning.negative for row in rows if row.conditioning.negative is not None]
    parts = [(place, part) for place, row in enumerate(rows) for part in row.conditioning.parts]
    guides = [*negatives, *(row.conditioning.positive for row in rows), *(part.guide for _, part in parts)]
    places = (*range(len(negatives)), *range(len(rows)), *(place for place, _ in parts))
    embeddings = [row.conditioning.guidance_embedding for row in rows if row.conditioning.guidance_embedding is not None]
    scales = [row.conditioning.scale for row in rows[: len(negatives)]]
    rescales = tuple(row.conditioning.guidance_rescale for row in rows[: len(negatives)])
    return Joined(
        places=places,
        embeds=_join_embeds(guides),
        guidance_embedding=torch.cat(embeddings).to(dtype) if embeddings else None,  # such models have no guided rows
        sizes=_join_sizes(guides),
        scales=torch.cat(scales) if scales else None,
        rescales=rescales if any(rescales) else (),
        part_scales=torch.cat([part.scale for _, part in parts]) if parts else None,
        image_prompts=join_image_prompts([row.image_prompts for row in rows], places, len(negatives)),
    )


def predict(unet: Any, rows: Sequence[Row], joined: Joined, controlnets: Mapping[str, Any] = NO_CONTROLNETS) -> torch.Tensor:
    """The UNet's prediction for each row (n, channels, h, w) in fp32, after guidance. The guided rows come first."""
    entries, latents = [rows[place] for place in joined.places], [_scaled_latents(row) for row in rows]
    inputs = [_input(row, scaled) for row, scaled in zip(rows, latents, strict=True)]
    timesteps = torch.cat([row.device_timesteps[row.position] for row in entries])
    residuals = None
    if controls := controls_of(entries):
        samples = torch.cat([latents[place] for place in joined.places]).to(unet.dtype)
        residuals = find_residuals(controls, samples, timesteps, joined.embeds, joined.sizes, controlnets)
    with reading_image_prompts(unet, wanted=bool(joined.image_prompts)):
        predicted = unet(
            torch.cat([inputs[place] for place in joined.places]).to(unet.dtype),
            timesteps,
            encoder_hidden_states=joined.embeds,
            timestep_cond=joined.guidance_embedding,
            added_cond_kwargs=joined.sizes,
            cross_attention_kwargs={ARGUMENT: joined.image_prompts} if joined.image_prompts else None,
            down_block_additional_residuals=residuals[0] if residuals else None,
            mid_block_additional_residual=residuals[1] if residuals else None,
            return_dict=False,
        )[0].float()
    return _guide(predicted, joined, len(rows))


def advance_by_scheduler(row: Row, output: torch.Tensor) -> None:
    """`output`: (1, channels, h, w)."""
    timestep = row.timesteps[row.position]
    row.latents = row.scheduler.step(output, timestep, row.latents, **row.step_arguments, return_dict=False)[0]
    row.position += 1


def advance_by_tables(rows: Sequence[Row], outputs: torch.Tensor) -> None:
    """`outputs`: (rows, channels, h, w)."""
    steppers = [row.table_row for row in rows if row.table_row is not None]
    for row, stepper in zip(rows, steppers, strict=True):
        stepper.latents = row.latents  # inpainting has changed them
    table_steps.advance(steppers, outputs)
    for row, stepper in zip(rows, steppers, strict=True):
        row.latents = stepper.latents
        row.position += 1


def _pick(outputs: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    """Without a list of indices, which would be copied to the device."""
    return outputs if len(numbers) == len(outputs) else torch.cat([outputs[number : number + 1] for number in numbers])


def _scaled_latents(row: Row) -> torch.Tensor:
    if row.table_row is None:
        return row.scheduler.scale_model_input(row.latents, row.timesteps[row.position])  # type: ignore[no-any-return]
    scale = row.table_row.table.input_scale[row.position]
    return row.latents if scale == 1.0 else row.latents * scale


def _input(row: Row, scaled: torch.Tensor) -> torch.Tensor:
    if row.inpainting is None or row.inpainting.masked_source is None:
        return scaled
    return torch.cat([scaled, row.inpainting.mask, row.inpainting.masked_source], dim=1)


def _guide(predicted: torch.Tensor, joined: Joined, rows: int) -> torch.Tensor:
    """Classifier-free guidance (arXiv:2207.12598, equation 6), composition (arXiv:2206.01714, equation 11), and rescaling.

    `predicted`: for each entry of the batch.
    """
    if joined.scales is None:
        return predicted
    count = len(joined.scales)
    negatives, positives, others, parts = predicted.tensor_split((count, 2 * count, count + rows))
    guided = (positives - negatives).mul_(joined.scales).add_(negatives)
    if joined.part_scales is not None:
        for place, part, scale in zip(joined.places[count + rows :], parts, joined.part_scales, strict=True):
            guided[place] += (part - negatives[place]) * scale
    for place, rescale in enumerate(joined.rescales):
        if rescale:
            guided[place] = _rescaled(guided[place : place + 1], positives[place : place + 1], rescale)[0]
    return torch.cat([guided, others]) if len(others) else guided


def _rescaled(guided: torch.Tensor, positive: torch.Tensor, share: float) -> torch.Tensor:
    """`share` of it with the spread of `positive` (arXiv:2305.08891, equations 14 to 16). Of one row, (1, channels, h, w)."""
    spread, wide = (one.std(dim=(1, 2, 3), keepdim=True) for one in (positive, guided))
    return share * (guided * (spread / wide)) + (1 - share) * guided


def _lay_back(row: Row, source: Source, mask: torch.Tensor) -> torch.Tensor:
    """The row's latents where it is painted, the source's elsewhere, noised as the next pass expects."""
    if row.is_done:
        kept = source.latents
    else:
        picture_share, noise_share = _noising(row)
        kept = picture_share * source.latents + noise_share * source.noise
    return (1 - mask) * kept + mask * row.latents


def _noising(row: Row) -> tuple[float, float]:
    """How much of a picture, and how much of noise, is in latents at the row's next pass; asked on the CPU, so that no device waits."""
    if row.table_row is not None:
        return row.table_row.table.blend[row.position - 1]
    one, zero, timesteps = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), row.timesteps[row.position].reshape(1)
    return float(row.scheduler.add_noise(one, zero, timesteps)), float(row.scheduler.add_noise(zero, one, timesteps))


def _join_embeds(guides: Sequence[Guide]) -> torch.Tensor:
    longest = max(guide.tokens for guide in guides)
    return torch.cat([guide.embeds.repeat(1, longest // guide.tokens, 1) for guide in guides])


def _join_sizes(guides: Sequence[Guide]) -> dict[str, torch.Tensor] | None:
    if guides[0].pooled is None:
        return None
    pooled = [guide.pooled for guide in guides if guide.pooled is not None]
    sizes = [guide.sizes for guide in guides if guide.sizes is not None]
    return {"text_embeds": torch.cat(pooled), "time_ids": torch.cat(sizes)}
