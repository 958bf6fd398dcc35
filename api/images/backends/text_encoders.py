"""A CLIP text encoder and its tokenizer, with the vectors of embeddings as further tokens.  [torch; no Django]

Neither is changed: an embedding's token has an id beyond the vocabulary, and its vector takes the place of the token's own inside one
call of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from api.errors import DarkroomError
from api.images.prompt_syntax.embedding_names import PLACEHOLDERS, number_of

FIRST_VECTOR = 1 << 24
"""The id of the first embedding's first vector. Larger than any vocabulary."""
STAND_IN = 0
"""The token whose own vector is replaced."""


@dataclass(frozen=True)
class Hidden:
    """What an encoder gives for windows of tokens: (windows, tokens, width), and a second encoder's summary (windows, width)."""

    states: torch.Tensor
    pooled: torch.Tensor | None


class TokenizerWithVectors:
    """A tokenizer, to which the i-th placeholder in a text is the i-th embedding's vectors."""

    def __init__(self, tokenizer: Any, vector_ids: Sequence[Sequence[int]]) -> None:
        self.plain, self.vector_ids = tokenizer, vector_ids

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def __call__(self, texts: Sequence[str], *, truncation: bool, **options: Any) -> dict[str, list[list[int]]]:
        """As Compel calls it: lists of ids, with start and end."""
        return {"input_ids": [self._with_ends(self.tokenize_ids(text), truncation=truncation) for text in texts]}

    def tokenize_ids(self, text: str) -> list[int]:
        ids: list[int] = []
        end = 0
        for match in PLACEHOLDERS.finditer(text):
            ids += [*tokenize(self.plain, text[end : match.start()]), *self.vector_ids[number_of(match[0])]]
            end = match.end()
        return ids + tokenize(self.plain, text[end:])

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The last vector of an embedding ends a word, so that a long prompt is not split before it."""
        lasts = {vectors[-1] for vectors in self.vector_ids}
        return [
            self.plain.convert_ids_to_tokens(token) if token < FIRST_VECTOR else "</w>" if token in lasts else ""
            for token in ids
        ]

    def _with_ends(self, ids: list[int], *, truncation: bool) -> list[int]:
        most = self.plain.model_max_length - 2 if truncation else len(ids)
        return [self.plain.bos_token_id, *ids[:most], self.plain.eos_token_id]


class EncoderWithVectors:
    """A text encoder, to which ids from FIRST_VECTOR upwards are the rows of `vectors` (count, width)."""

    def __init__(self, encoder: Any, vectors: torch.Tensor) -> None:
        self._encoder, self._vectors = encoder, vectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def __call__(self, token_ids: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        is_vector = token_ids >= FIRST_VECTOR
        with self._replacing(token_ids, is_vector):
            return self._encoder(token_ids.masked_fill(is_vector, STAND_IN), *arguments, **options)

    @contextmanager
    def _replacing(self, token_ids: torch.Tensor, is_vector: torch.Tensor) -> Iterator[None]:
        def replace(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            places = is_vector.to(output.device)
            chosen = self._vectors.to(output)[token_ids.to(output.device)[places] - FIRST_VECTOR]
            output = output.clone()
            output[places] = chosen
            return output

        handle = self._encoder.get_input_embeddings().register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()


def tokenize(tokenizer: Any, text: str) -> list[int]:
    """Without start and end, and of any length."""
    return list(tokenizer(text, truncation=False, add_special_tokens=False, verbose=False)["input_ids"])


@dataclass(frozen=True)
class LayerChoice:
    """The encoder's layer as diffusers takes it: SD 1 and 2 the last, normalised; SDXL the last but one, raw."""

    number: int
    """-1 is the last."""
    normalised: bool

    def run(self, encoder: Any, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Hidden:
        output = encoder(token_ids, attention_mask, output_hidden_states=True, return_dict=True)
        pooled = getattr(output, "text_embeds", None)
        if self.normalised and self.number == -1:
            return Hidden(output.last_hidden_state, pooled)
        hidden = output.hidden_states[self.number]
        if not self.normalised:
            return Hidden(hidden, pooled)
        normed: Any = getattr(encoder, "text_model", encoder)  # nested before transformers 5
        return Hidden(normed.final_layer_norm(hidden), pooled)


def choose_layer(encoder: Any, *, clip_skip: int | None, is_xl: bool) -> LayerChoice:
    """Raises DarkroomError (clip_skip, 400)."""
    layers = encoder.config.num_hidden_layers
    number = -(clip_skip or 0) - (2 if is_xl else 1)
    if -number > layers:
        raise DarkroomError(
            "clip_skip", 400, f"clip_skip may be {layers - (2 if is_xl else 1)} at most here.", field="clip_skip"
        )
    return LayerChoice(number, normalised=not is_xl)
