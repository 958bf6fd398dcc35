"""What the UNet is told beside the latents: prompt embeddings, SDXL's sizes, a distilled model's guidance.  [torch]"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from api.images.backends.adapters import loras_on
from api.images.backends.prompts import EncodedStretch, PromptEmbeddings, PromptEncoder
from api.images.backends.textual_inversion import stamp_of
from api.images.prompt_syntax.embedding_names import NamedEmbedding
from api.images.prompt_syntax.reading import AND_IS_NOT_DONE, has_composition
from api.images.prompt_syntax.syntaxes import A1111
from api.images.spec import TEXT_TO_IMAGE, Txt2ImgSpec

MOST_KEPT = 32
"""Pairs of prompts whose embeddings are kept for each text encoder: 1 to 3 MB each."""
AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5
"""What SDXL's pipelines with a source picture tell the refiner, by default."""

Key = tuple[object, ...]
LAST_STEP = 10**9
Embeddings = Sequence[NamedEmbedding]
Warn = Callable[[str], None]
_kept: WeakKeyDictionary[Any, OrderedDict[Key, tuple[list[EncodedStretch], list[str]]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Guide:
    """One entry of a UNet batch: (1, tokens, width), and for SDXL a summary (1, width) and sizes (1, numbers)."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    sizes: torch.Tensor | None = None

    @property
    def tokens(self) -> int:
        return self.embeds.shape[1]


@dataclass(frozen=True, eq=False)
class Part:
    """One of the prompts that are composed, behind the first."""

    guide: Guide
    scale: torch.Tensor
    """(1, 1, 1, 1) in fp32 on the device: of the guidance, times its weight."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    positive: Guide
    negative: Guide | None
    """None without classifier-free guidance: then the row is one entry of a batch, else two."""
    scale: torch.Tensor
    """(1, 1, 1, 1) in fp32 on the device: of the guidance, times the weight of the prompt's first part."""
    parts: tuple[Part, ...] = ()
    """The others that the prompt is composed of (AND); each is one entry more of a batch."""
    guidance_embedding: torch.Tensor | None = None
    """(1, width), for models that were distilled with the guidance as an input."""
    guidance_rescale: float = 0.0
    """0 to 1: how far what guidance makes is brought back to the spread of the positive prediction."""
    last_step: int = LAST_STEP
    """Up to and with which step, counted from 1, the row is told this: prompts may change with the steps."""


def is_guided(pipeline: Any, spec: Txt2ImgSpec) -> bool:
    """Is there classifier-free guidance? Distilled models are run without, at a scale of 1 or below."""
    return spec.guidance_scale > 1 and pipeline.unet.config.time_cond_proj_dim is None


def make_conditionings(
    pipeline: Any,
    spec: Txt2ImgSpec,
    size: tuple[int, int],
    steps: int,
    embeddings: Embeddings,
    warn: Warn,
    guidance_rescale: float = 0.0,
) -> list[Conditioning]:
    """One for each stretch of the row's steps, in their order; all have the same number of tokens.

    `size`: (height, width) that SDXL is told, in pixels. `guidance_rescale`: the model's own; it counts where diffusers' call knows it.
    Raises DarkroomError (prompt_weights, clip_skip, embedding_mismatch; 400).
    """
    guided = is_guided(pipeline, spec)
    if spec.negative_prompt and not guided:
        warn("negative_prompt has no effect at a guidance_scale of 1 or below.")
    if spec.prompt_syntax == A1111 and not guided and has_composition(spec.prompt):
        warn(AND_IS_NOT_DONE)
    stretches = embed_prompts(pipeline, spec, guided=guided, steps=steps, embeddings=embeddings, warn=warn)
    rescale = guidance_rescale if knows_rescale(pipeline, spec) else 0.0
    return [replace(_conditioning(pipeline, spec, size, stretch), guidance_rescale=rescale) for stretch in stretches]


def knows_rescale(pipeline: Any, spec: Txt2ImgSpec) -> bool:
    """Those of diffusers' calls with a ControlNet, and of SD 1 and 2 with a source picture, don't."""
    return not spec.control and "guidance_rescale" in inspect.signature(pipeline.__call__).parameters


def _conditioning(pipeline: Any, spec: Txt2ImgSpec, size: tuple[int, int], stretch: EncodedStretch) -> Conditioning:
    prompts = stretch.prompts
    sizes, negative_sizes = _sizes(pipeline, spec, size, prompts)
    device = prompts.embeds.device

    def scale_of(weight: float) -> torch.Tensor:
        return torch.full((1, 1, 1, 1), weight * spec.guidance_scale, dtype=torch.float32, device=device)

    return Conditioning(
        positive=Guide(prompts.embeds, prompts.pooled, sizes),
        negative=None
        if prompts.negative_embeds is None
        else Guide(prompts.negative_embeds, prompts.negative_pooled, negative_sizes),
        scale=scale_of(prompts.weight),
        parts=tuple(Part(Guide(one.embeds, one.pooled, sizes), scale_of(one.weight)) for one in prompts.others),
        guidance_embedding=_guidance_embedding(pipeline, spec, device),
        last_step=stretch.last,
    )


def embed_prompts(
    pipeline: Any, spec: Txt2ImgSpec, *, guided: bool, warn: Warn, steps: int = 1, embeddings: Embeddings = ()
) -> list[EncodedStretch]:
    """By the text encoders, or kept from an earlier request with the same texts and adapters; warnings are given each time."""
    kept = _kept.setdefault(pipeline.text_encoder, OrderedDict())
    syntax, stamps = spec.prompt_syntax, [stamp_of(embedding) for embedding in embeddings]
    changing = steps if syntax == A1111 else 1
    key = spec.prompt, spec.negative_prompt, syntax, guided, spec.clip_skip, loras_on(pipeline.unet), changing, *stamps
    if key not in kept:
        notes: list[str] = []
        encoder = PromptEncoder(
            pipeline,
            clip_skip=spec.clip_skip,
            warn=notes.append,
            syntax=syntax,
            embeddings=embeddings,
            model=spec.model_id,
        )
        kept[key] = encoder.encode_steps(spec.prompt, spec.negative_prompt, guided=guided, steps=changing), notes
        while len(kept) > MOST_KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    stretches, notes = kept[key]
    for note in notes:
        warn(note)
    return stretches


def _sizes(
    pipeline: Any, spec: Txt2ImgSpec, size: tuple[int, int], prompts: PromptEmbeddings
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """SDXL's micro-conditioning (arXiv:2307.01952, 2.2), positive and negative; None for other families."""
    if prompts.pooled is None:
        return None, None
    options = {"dtype": prompts.embeds.dtype, "text_encoder_projection_dim": _projection_width(pipeline, prompts.pooled)}
    device = prompts.embeds.device
    if spec.task == TEXT_TO_IMAGE:
        sizes = pipeline._get_add_time_ids(size, (0, 0), size, **options).to(device)
        return sizes, sizes
    positive, negative = pipeline._get_add_time_ids(
        size, (0, 0), size, AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE, size, (0, 0), size, **options
    )
    return positive.to(device), negative.to(device)


def _projection_width(pipeline: Any, pooled: torch.Tensor) -> int:
    encoder = pipeline.text_encoder_2
    return int(pooled.shape[-1]) if encoder is None else int(encoder.config.projection_dim)


def _guidance_embedding(pipeline: Any, spec: Txt2ImgSpec, device: torch.device) -> torch.Tensor | None:
    width = pipeline.unet.config.time_cond_proj_dim
    if width is None:
        return None
    scale = torch.tensor([spec.guidance_scale - 1])
    return pipeline.get_guidance_scale_embedding(scale, embedding_dim=width).to(device)  # type: ignore[no-any-return]
