"""Prompts for the CLIP families (Stable Diffusion 1, 2 and XL): Compel's weights, and no limit of 77 tokens.  [torch]

A prompt longer than the encoder's window is encoded in several windows, laid one after the other. Each prompt is encoded by
itself, never in a batch, so that its embedding does not depend on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyparsing
import torch
from compel import Compel
from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode
from compel.prompt_parser import Blend, Conjunction, FlattenedPrompt, PromptParser

from api.errors import DarkroomError

pyparsing.ParserElement.enable_packrat(None)  # without it Compel's grammar takes time exponential in the depth of parentheses

_SYNTAX = re.compile(r'[()"+\-\\]|useLora|withLora')
MOST_WEIGHTED = 64
"""Parts of a prompt with a weight of their own: each weight below 1 costs a pass of the encoder."""

Warn = Callable[[str], None]


@dataclass(frozen=True)
class PromptEmbeddings:
    """What the denoiser is told: (1, tokens, width), and for SDXL a summary (1, width). Negatives are None without guidance."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None = None
    negative_embeds: torch.Tensor | None = None
    negative_pooled: torch.Tensor | None = None


class PromptEncoder:
    """Encodes prompts for one pipeline; keeps what it encoded, so that equal prompts of a batch cost one pass."""

    def __init__(self, pipeline: Any, *, clip_skip: int | None, warn: Warn) -> None:
        self._pipeline, self._warn = pipeline, warn
        self._device = pipeline._execution_device
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        names = (
            (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
            if self._is_xl
            else (("tokenizer", "text_encoder"),)
        )
        self._encoders = [
            _make_compel(getattr(pipeline, tokenizer), getattr(pipeline, encoder), clip_skip, self._is_xl, str(self._device))
            for tokenizer, encoder in names
        ]
        self._kept: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}

    @torch.no_grad()
    def encode(self, prompt: str, negative_prompt: str, *, guided: bool) -> PromptEmbeddings:
        """Positive and negative, padded to the same number of windows with what an empty prompt gives."""
        embeds, pooled = self._encode(prompt)
        if not guided:
            return PromptEmbeddings(embeds, pooled)
        if not negative_prompt and self._pipeline.config.get("force_zeros_for_empty_prompt"):
            zeros = None if pooled is None else torch.zeros_like(pooled)
            return PromptEmbeddings(embeds, pooled, torch.zeros_like(embeds), zeros)
        negative, negative_pooled = self._encode(negative_prompt)
        embeds, negative = self._pad([embeds, negative])
        return PromptEmbeddings(embeds, pooled, negative, negative_pooled)

    def _encode(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        if prompt not in self._kept:
            self._kept[prompt] = self._encode_anew(prompt)
        return self._kept[prompt]

    def _encode_anew(self, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        tokenizers = [compel.conditioning_provider.tokenizer for compel in self._encoders]
        text = _defuse_special_tokens(prompt, tokenizers)
        conjunction = parse_prompt(text, self._warn)
        _check_weights(conjunction)
        parts = [self._embed(compel, conjunction, text) for compel in self._encoders]
        embeds = torch.cat(parts, dim=-1) if self._same_length(parts) else torch.cat(self._pad_each(parts), dim=-1)
        pooled = self._pool(conjunction) if self._is_xl else None
        if not torch.isfinite(embeds).all():
            raise DarkroomError("prompt_weights", 400, "The prompt's weights are too large, or cancel out.", field="prompt")
        return embeds, pooled

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
    if conjunction.lora_weights:
        warn("withLora(…) in a prompt has no effect; name adapters in `loras`.")
    if any(getattr(part, "wants_cross_attention_control", False) for part in conjunction.prompts):
        warn("`.swap(…)` in a prompt is not supported; the original words were used.")
    return conjunction if conjunction.prompts else _plain(prompt)


def words_of(prompt: str) -> str:
    """The prompt without weights and their marks: what a model is told that knows nothing of them."""
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


def _make_compel(tokenizer: Any, encoder: Any, clip_skip: int | None, is_xl: bool, device: str) -> Compel:
    compel = Compel(tokenizer=tokenizer, text_encoder=encoder, truncate_long_prompts=False, device=device)
    compel.conditioning_provider = _Provider(tokenizer, encoder, clip_skip=clip_skip, is_xl=is_xl, device=device)
    return compel


class _Provider(EmbeddingsProvider):
    """Compel's, with the encoder's layer as diffusers takes it: SD 1 and 2 the last, normalised; SDXL the last but one, raw."""

    def __init__(self, tokenizer: Any, encoder: Any, *, clip_skip: int | None, is_xl: bool, device: str) -> None:
        super().__init__(tokenizer, encoder, truncate=False, device=device, split_long_text_mode=SplitLongTextMode.SENTENCES)
        layers = encoder.config.num_hidden_layers
        self._layer = -(clip_skip or 0) - (2 if is_xl else 1)
        self._normalised = not is_xl
        if -self._layer > layers:
            raise DarkroomError(
                "clip_skip", 400, f"clip_skip may be {layers - (2 if is_xl else 1)} at most here.", field="clip_skip"
            )

    def _encode_token_ids_to_embeddings(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        output = self.text_encoder(token_ids, attention_mask, output_hidden_states=True, return_dict=True)
        if self._normalised and self._layer == -1:
            return output.last_hidden_state
        hidden = output.hidden_states[self._layer]
        if not self._normalised:
            return hidden
        encoder: Any = getattr(self.text_encoder, "text_model", self.text_encoder)  # nested before transformers 5
        return encoder.final_layer_norm(hidden)
