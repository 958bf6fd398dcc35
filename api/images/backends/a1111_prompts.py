"""Prompts as AUTOMATIC1111 encodes them: windows of 75 tokens, weights on the embeddings, the mean restored.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from api.images.backends.text_encoders import Hidden, LayerChoice, TokenizerWithVectors, tokenize
from api.images.prompt_syntax.chunks import CHUNK_LENGTH, Chunk, Vocabulary, make_chunks
from api.images.prompt_syntax.weights import Segment

MOST_RESTORED = 2.0
"""By how much the mean may be restored beyond what the weights explain."""
SMALLEST_WEIGHT = 0.1


@dataclass(frozen=True)
class ChunkEncoder:
    """One tokenizer and text encoder; see backends/text_encoders.py for those with embeddings."""

    tokenizer: Any
    encoder: Any
    layer: LayerChoice
    device: torch.device

    def encode(self, segments: Sequence[Segment]) -> Hidden:
        """(1, 77 × chunks, width), and the summary of the first chunk (1, width)."""
        hidden = [self._encode_chunk(chunk) for chunk in make_chunks(segments, self._vocabulary())]
        return Hidden(torch.cat([one.states for one in hidden], dim=1), hidden[0].pooled)

    def _vocabulary(self) -> Vocabulary:
        tokenizer = self.tokenizer
        with_vectors = isinstance(tokenizer, TokenizerWithVectors)
        return Vocabulary(
            tokenize=partial(tokenize, tokenizer.plain if with_vectors else tokenizer),
            comma=tokenizer.convert_tokens_to_ids(",</w>"),
            vector_ids=tokenizer.vector_ids if with_vectors else (),
        )

    def _encode_chunk(self, chunk: Chunk) -> Hidden:
        tokenizer = self.tokenizer
        padding = [tokenizer.pad_token_id] * (CHUNK_LENGTH - len(chunk.tokens))
        ids = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id, *padding]
        weights = [1.0, *chunk.weights, 1.0, *[1.0] * len(padding)]
        hidden = self.layer.run(self.encoder, torch.tensor([ids], device=self.device))
        if all(weight == 1.0 for weight in weights):
            return hidden
        return Hidden(apply_weights(hidden.states, weights), hidden.pooled)


def apply_weights(states: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Each token's state (1, tokens, width) times its weight; then all of them so that their mean is what it was."""
    factors = torch.tensor(weights, device=states.device, dtype=torch.float32)[None, :, None]
    before = states.float()
    after = before * factors
    ratio = float(before.mean() / after.mean())
    return (after * restoring_factor(ratio, weights)).to(states.dtype)


def restoring_factor(ratio: float, weights: Sequence[float]) -> float:
    """`ratio` of the means, where it can be the work of the weights.

    Means of one sign give one between 1 / the largest and 1 / the smallest weight. A mean near 0 gives anything, of either sign: it is
    held near these bounds, and where it would turn the embedding round, nothing is restored.
    """
    if not ratio > 0:
        return 1.0
    lowest = 1 / (MOST_RESTORED * max(1.0, *weights))
    highest = MOST_RESTORED / max(SMALLEST_WEIGHT, min(1.0, *weights))
    return min(highest, max(lowest, ratio))
