"""Prompts for the CLIP families (Stable Diffusion 1, 2 and XL), in each syntax, without a limit of 77 tokens.  [torch]

A prompt longer than the encoder's window is encoded in several windows, laid one after the other. Each prompt is encoded by
itself, never in a batch, so that its embedding does not depend on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyparsing
import torch
from compel import Compel
from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode
from compel.prompt_parser import Blend, Conjunction, FlattenedPrompt, PromptParser

from api.errors import DarkroomError
from api.images.backends.a1111_prompts import ChunkEncoder
from api.images.backends.mixed_prompts import describe_mixing
from api.images.backends.text_encoders import LayerChoice, choose_layer
from api.images.backends.textual_inversion import with_embeddings
from api.images.prompt_syntax.embedding_names import NamedEmbedding, put_placeholders
from api.images.prompt_syntax.reading import Part, find_parts, find_stretches
from api.images.prompt_syntax.reading import words_of as words_of_a1111
from api.images.prompt_syntax.syntaxes import A1111, COMPEL, PLAIN
from api.images.prompt_syntax.weights import parse_weights

pyparsing.ParserElement.enable_packrat(None)  # without it Compel's grammar takes time exponential in the depth of parentheses

_SYNTAX = re.compile(r'[()"+\-\\]|useLora|withLora')
MOST_WEIGHTED = 64
"""Parts of a prompt with a weight of their own: each weight below 1 costs a pass of the encoder."""

Warn = Callable[[str], None]
Encoded = tuple[torch.Tensor, torch.Tensor | None]
"""(1, tokens, width), and for SDXL a summary (1, width)."""


@dataclass(frozen=True)
class PromptEmbeddings:
    """What the denoiser is told: (1, tokens, width), and for SDXL a summary (1, width). Negatives are None without guidance."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    negative_embeds: torch.Tensor | None = None
    negative_pooled: torch.Tensor | None = None
    weight: float = 1.0
    others: tuple[WeightedPrompt, ...] = ()
    """What the prompt is composed of beside its first part, whose `weight` is that above."""


@dataclass(frozen=True)
class WeightedPrompt:
    """One part of a composed prompt, behind its first."""

    weight: float
    embeds: torch.Tensor
    pooled: torch.Tensor | None


@dataclass(frozen=True)
class EncodedStretch:
    """What the denoiser is told up to and with step `last`, counted from 1."""

    last: int
    prompts: PromptEmbeddings


@dataclass(frozen=True)
class EncodedPart:
    """One part of a composed prompt: what it is, up to and with which step."""

    weight: float
    stretches: list[tuple[int, Encoded]]


class PromptEncoder:
    """Encodes prompts for one pipeline; keeps what it encoded, so that equal prompts of a batch cost one pass.

    `embeddings`: textual inversions that the prompts name. `model`: its name, for messages.
    """

    def __init__(
        self,
        pipeline: Any,
        *,
        clip_skip: int | None,
        warn: Warn,
        syntax: str = COMPEL,
        embeddings: Sequence[NamedEmbedding] = (),
        model: str = "this model",
    ) -> None:
        self._pipeline, self._warn, self._syntax, self._embeddings = pipeline, warn, syntax, embeddings
        self._device = pipeline._execution_device
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        parts = [(pipeline.tokenizer, pipeline.text_encoder)]
        if self._is_xl:
            parts.append((pipeline.tokenizer_2, pipeline.text_encoder_2))
        self._tokenizers = [tokenizer for tokenizer, _ in parts]
        self._parts = [
            (
                *with_embeddings(tokenizer, encoder, embeddings, number, model),
                choose_layer(encoder, clip_skip=clip_skip, is_xl=self._is_xl),
            )
            for number, (tokenizer, encoder) in enumerate(parts)
        ]
        self._encoders = [_make_compel(*part, str(self._device)) for part in self._parts]
        self._kept: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def encode(self, prompt: str, negative_prompt: str, *, guided: bool) -> PromptEmbeddings:
        """For prompts that are the same at all steps."""
        return self.encode_steps(prompt, negative_prompt, guided=guided, steps=1)[-1].prompts

    @torch.no_grad()
    def encode_steps(self, prompt: str, negative_prompt: str, *, guided: bool, steps: int) -> list[EncodedStretch]:
        """Positive and negative, all of them padded to the same number of windows with what an empty prompt gives."""
        if not guided:
            [positive] = self._encode_parts(prompt, steps, composes=False)
            return [EncodedStretch(last, PromptEmbeddings(*one)) for last, [one] in self._join([positive.stretches])]
        first, *others = self._encode_parts(prompt, steps, composes=True)
        is_zero = not negative_prompt and self._pipeline.config.get("force_zeros_for_empty_prompt")
        [negative] = [None] if is_zero else self._encode_parts(negative_prompt, steps, composes=False)
        lists = [part.stretches for part in (first, *others, *([negative] if negative else []))]
        made = []
        for last, [one, *more] in self._join(lists):
            other = more.pop() if negative else _zeros(*one)
            parts = tuple(WeightedPrompt(part.weight, *encoded) for part, encoded in zip(others, more, strict=True))
            made.append(EncodedStretch(last, PromptEmbeddings(*one, *other, weight=first.weight, others=parts)))
        return made

    def _join(self, lists: Sequence[Sequence[tuple[int, Encoded]]]) -> list[tuple[int, list[Encoded]]]:
        """One of each list at each step at which one of them ends."""
        found = [encoded for stretches in lists for _, encoded in stretches]
        padded = dict(zip(map(id, found), self._pad([embeds for embeds, _ in found]), strict=True))
        joined = []
        for last in sorted({last for stretches in lists for last, _ in stretches}):
            current = [next(encoded for end, encoded in stretches if end >= last) for stretches in lists]
            joined.append((last, [(padded[id(one)], one[1]) for one in current]))
        return joined

    def _encode_parts(self, prompt: str, steps: int, *, composes: bool) -> list[EncodedPart]:
        """One alone where nothing is composed."""
        prompt = _defuse_special_tokens(prompt, self._tokenizers)
        if self._syntax != A1111:
            return [EncodedPart(1.0, [(steps, self._encode_kept(put_placeholders(prompt, self._embeddings)))])]
        joined = Part(1.0, find_stretches(prompt, steps, self._embeddings))
        parts = find_parts(prompt, steps, self._embeddings) if composes else [joined]
        return [EncodedPart(part.weight, [(one.last, self._encode_kept(one.text)) for one in part.stretches]) for part in parts]

    def _encode_kept(self, text: str) -> Encoded:
        if text not in self._kept:
            embeds, pooled = self._encode_weighted(text) if self._syntax == A1111 else self._encode_by_compel(text)
            if not torch.isfinite(embeds).all():
                raise DarkroomError("prompt_weights", 400, "The prompt's weights are too large, or cancel out.", field="prompt")
            self._kept[text] = embeds, pooled
        return self._kept[text]

    def _encode_weighted(self, text: str) -> Encoded:
        """In AUTOMATIC1111's notation."""
        segments = parse_weights(text)
        hidden = [ChunkEncoder(*part, self._device).encode(segments) for part in self._parts]
        embeds = torch.cat([one.states for one in hidden], dim=-1)
        dtype = self._pipeline.text_encoder.dtype
        pooled = hidden[-1].pooled.to(self._device) if self._is_xl and hidden[-1].pooled is not None else None
        return embeds.to(self._device, dtype), pooled

    def _encode_by_compel(self, text: str) -> Encoded:
        conjunction = _plain(text) if self._syntax == PLAIN else parse_prompt(text, self._warn)
        _check_weights(conjunction)
        parts = [self._embed(compel, conjunction, text) for compel in self._encoders]
        embeds = torch.cat(parts, dim=-1) if self._same_length(parts) else torch.cat(self._pad_each(parts), dim=-1)
        return embeds, self._pool(conjunction) if self._is_xl else None

    def _embed(self, compel: Compel, conjunction: Conjunction, text: str) -> torch.Tensor:
        try:
            embeds = compel.build_conditioning_tensor_for_conjunction(conjunction)[0]
        except RuntimeError as error:
            if "token sequence" not in str(error):
                raise
            self._warn("The prompt's weights could not be matched to its words; it was taken without them.")
            embeds = compel.build_conditioning_tensor_for_conjunction(_plain(text))[0]
        return embeds.to(self._device, compel.conditioning_provider.text_encoder.dtype)

    def _pool(self, conjunction: Conjunction) -> torch.Tensor:
        """The second encoder's summary of the words alone; those of a blend are mixed in its proportions."""
        compel = self._encoders[1]
        texts, weights = _texts_of(conjunction)
        pooled = torch.cat([compel.conditioning_provider.get_pooled_embeddings([text], device=compel.device) for text in texts])
        shares = torch.tensor(weights, device=pooled.device, dtype=torch.float32)
        total = shares.sum()
        shares = shares / total if total != 0 else torch.full_like(shares, 1 / len(texts))
        return (pooled.float() * shares[:, None]).sum(dim=0, keepdim=True).to(self._device, pooled.dtype)

    def _same_length(self, parts: list[torch.Tensor]) -> bool:
        return len({part.shape[1] for part in parts}) == 1

    def _pad_each(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        """The two encoders split long prompts by themselves: bring the shorter to the longer's length."""
        longest = max(part.shape[1] for part in parts)
        return [
            _pad_with(part, compel.conditioning_provider.empty_z.to(part), longest)
            for part, compel in zip(parts, self._encoders, strict=True)
        ]

    def _pad(self, embeds: list[torch.Tensor]) -> list[torch.Tensor]:
        longest = max(part.shape[1] for part in embeds)
        empty = torch.cat([compel.conditioning_provider.empty_z.to(embeds[0]) for compel in self._encoders], dim=-1)
        return [_pad_with(part, empty, longest) for part in embeds]


def parse_prompt(prompt: str, warn: Warn) -> Conjunction:
    """Compel's syntax where it is well formed, else the words as they stand: a prompt is never refused for a parenthesis."""
    if not prompt.strip() or not _SYNTAX.search(prompt):
        return _plain(prompt)
    try:
        conjunction = _parse(prompt)
    except (pyparsing.ParseBaseException, PromptParser.ParsingException, ValueError, RecursionError):
        warn("The prompt's weights could not be read; it was taken as plain text.")
        return _plain(prompt)
    for sentence in describe_mixing(conjunction, " ".join(_texts_of(conjunction)[0])):
        warn(sentence)
    if conjunction.lora_weights:
        warn("withLora(…) in a prompt has no effect; name adapters in `loras`.")
    if any(getattr(part, "wants_cross_attention_control", False) for part in conjunction.prompts):
        warn("`.swap(…)` in a prompt is not supported; the original words were used.")
    return conjunction if conjunction.prompts else _plain(prompt)


def words_of(prompt: str, syntax: str = COMPEL) -> str:
    """The prompt without weights and their marks: what a model is told that knows nothing of them."""
    if syntax in (A1111, PLAIN):
        return prompt if syntax == PLAIN else words_of_a1111(prompt)
    texts, _ = _texts_of(parse_prompt(prompt, lambda warning: None))
    return " ".join(text.strip() for text in texts)


@lru_cache(maxsize=64)
def _parse(prompt: str) -> Conjunction:
    return PromptParser().parse_conjunction(prompt)


def _plain(prompt: str) -> Conjunction:
    return Conjunction([FlattenedPrompt([(prompt, 1.0)])], weights=[1.0])


def _flattened(conjunction: Conjunction) -> list[FlattenedPrompt]:
    return [one for part in conjunction.prompts for one in (part.prompts if isinstance(part, Blend) else [part])]


def _texts_of(conjunction: Conjunction) -> tuple[list[str], list[float]]:
    """The words of each part, and the part's weight."""
    weights = [
        own * inner
        for part, own in zip(conjunction.prompts, conjunction.weights, strict=True)
        for inner in (part.weights if isinstance(part, Blend) else [1.0])
    ]
    return [" ".join(_words(child) for child in one.children) for one in _flattened(conjunction)], weights


def _words(fragment: Any) -> str:
    original = getattr(fragment, "original", None)  # of a .swap()
    return fragment.text if original is None else " ".join(_words(child) for child in original)


def _check_weights(conjunction: Conjunction) -> None:
    parts = [child for one in _flattened(conjunction) for child in one.children]
    if sum(getattr(part, "weight", 1.0) != 1.0 for part in parts) > MOST_WEIGHTED:
        raise DarkroomError("prompt_weights", 400, f"A prompt may have {MOST_WEIGHTED} weighted parts.", field="prompt")


def _defuse_special_tokens(prompt: str, tokenizers: list[Any]) -> str:
    """What a person writes is text: `<|endoftext|>` in a prompt must not end it."""
    for token in {token for tokenizer in tokenizers for token in tokenizer.all_special_tokens if len(token) > 1}:
        prompt = prompt.replace(token, f"{token[0]} {token[1:]}")
    return prompt


def _pad_with(embeds: torch.Tensor, empty: torch.Tensor, length: int) -> torch.Tensor:
    """(1, tokens, width) → (1, length, width); `length` is a number of whole windows."""
    missing = (length - embeds.shape[1]) // empty.shape[1]
    return torch.cat([embeds, *[empty] * missing], dim=1)


def _zeros(embeds: torch.Tensor, pooled: torch.Tensor | None) -> Encoded:
    return torch.zeros_like(embeds), None if pooled is None else torch.zeros_like(pooled)


def _make_compel(tokenizer: Any, encoder: Any, layer: LayerChoice, device: str) -> Compel:
    compel = Compel(tokenizer=tokenizer, text_encoder=encoder, truncate_long_prompts=False, device=device)
    compel.conditioning_provider = _Provider(tokenizer, encoder, layer, device)
    return compel


class _Provider(EmbeddingsProvider):
    """Compel's, with the encoder's layer as diffusers takes it."""

    def __init__(self, tokenizer: Any, encoder: Any, layer: LayerChoice, device: str) -> None:
        super().__init__(tokenizer, encoder, truncate=False, device=device, split_long_text_mode=SplitLongTextMode.SENTENCES)
        self._layer = layer

    def _encode_token_ids_to_embeddings(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self._layer.run(self.text_encoder, token_ids, attention_mask).states
