"""Sample one token from logits: penalties, biases, temperature, top_k, top_p, min_p, grammar, logprobs. Shared by all local backends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from api.chat.backends.request import Sampling
from api.json_types import JsonObject

LONGEST_REPEATED_PIECE, REPETITIONS = 16, 24
"""Output counts as degenerate when a piece of up to 16 tokens repeats 24 times; meaningful runs (of zeros, say) are shorter."""
TOP_P_CANDIDATES = 1024
"""Most likely tokens to try for top_p first; the whole vocabulary is sorted only if their probabilities don't reach top_p."""


NO_LIMIT = 2**62


class Grammar(Protocol):
    """Constrains the next token."""

    def allowed(self, size: int) -> torch.Tensor:
        """(size,) bool: the tokens that may come next."""

    def accept(self, token: int) -> None: ...

    def closing_quotes(self, size: int) -> torch.Tensor:
        """(size,) bool: tokens that start with a quotation mark, which ends a JSON string."""

    @property
    def complete(self) -> bool:
        """Only the end of the sequence is allowed next."""

    @property
    def reserve(self) -> int:
        """The number of tokens that are enough to come to an end from anywhere, by `closing`."""

    def closing(self, allowed: torch.Tensor) -> torch.Tensor:
        """(size,) bool: those of the allowed tokens that lead to the end the soonest."""


@dataclass
class SampledToken:
    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens with their logprobs, in descending order."""


class Sampler:
    """Samples the tokens of one sequence with a generator of its own, so that results don't depend on the batch."""

    def __init__(
        self,
        sampling: Sampling,
        seed: int,
        *,
        grammar: Grammar | None = None,
        banned_token_ids: tuple[int, ...] = (),
        eos_token_ids: frozenset[int] = frozenset(),
        prompt_token_ids: Sequence[int] = (),
    ) -> None:
        self.sampling, self.grammar, self.banned_token_ids, self.eos_token_ids, self.prompt_token_ids = (
            sampling,
            grammar,
            list(banned_token_ids),
            eos_token_ids,
            set(prompt_token_ids),
        )
        self.biased = torch.tensor([int(token) for token in sampling.logit_bias], dtype=torch.long)
        self.biases = torch.tensor(list(sampling.logit_bias.values()))
        self.sampled: list[int] = []
        self.generator = torch.Generator().manual_seed(seed)
        self.counts: Counter[int] = Counter()

    def sample(self, logits: torch.Tensor, remaining: int = NO_LIMIT) -> SampledToken:
        """Sample one token. `logits`: (vocabulary,) float32 on the CPU; not modified. `remaining`: tokens that the answer may still have.

        Log-probabilities are the model's own, before penalties, biases, temperature and grammar, as OpenAI reports them.
        """
        shaped = self._apply_penalties(logits.clone())
        if len(self.biased):
            shaped[self.biased] += self.biases
        shaped[self.banned_token_ids] = -torch.inf
        if self.grammar is not None:
            shaped[~self._allowed_by_grammar(self.grammar, logits, remaining)] = -torch.inf
        token = self._draw(shaped)
        self.counts[token] += 1
        if self.grammar is not None:
            self.sampled.append(token)
            self.grammar.accept(token)
        return self._with_logprobs(logits, token) if self.sampling.logprobs else SampledToken(token)

    def _allowed_by_grammar(self, grammar: Grammar, logits: torch.Tensor, remaining: int) -> torch.Tensor:
        """(vocabulary,) bool. Inside a JSON string, a model that wants to end or repeats itself may only close the string.

        Where few tokens remain, it may only end, or close all that is open.

        The end itself is not allowed inside JSON; without this a small model would go on from there with whatever comes next.
        """
        allowed = grammar.allowed(len(logits))
        if remaining <= grammar.reserve:
            ends = torch.zeros_like(allowed)
            ends[[token for token in self.eos_token_ids if token < len(ends)]] = True
            return allowed & ends if (allowed & ends).any() else grammar.closing(allowed)
        if int(logits.argmax()) in self.eos_token_ids or is_repeating(self.sampled):
            closing_quotes = allowed & grammar.closing_quotes(len(logits))
            return closing_quotes if closing_quotes.any() else allowed
        return allowed

    def _apply_penalties(self, logits: torch.Tensor) -> torch.Tensor:
        """OpenAI's formula: logit -= count · frequency_penalty + (count > 0) · presence_penalty, over the tokens sampled so far."""
        sampling = self.sampling
        if sampling.repetition_penalty:
            tokens = torch.tensor(sorted({*self.prompt_token_ids, *self.counts}), dtype=torch.long)
            found = logits[tokens]
            logits[tokens] = torch.where(found > 0, found / sampling.repetition_penalty, found * sampling.repetition_penalty)
        if self.counts and (sampling.frequency_penalty or sampling.presence_penalty):
            tokens = torch.tensor(list(self.counts))
            counts = torch.tensor(list(self.counts.values()), dtype=logits.dtype)
            logits[tokens] -= counts * sampling.frequency_penalty + sampling.presence_penalty
        return logits

    def _draw(self, logits: torch.Tensor) -> int:
        temperature, top_p, top_k = self.sampling.temperature, self.sampling.top_p, self.sampling.top_k
        if not temperature or top_k == 1:
            return int(logits.argmax())
        logits = logits / max(temperature, 1e-4)
        tokens = None
        if top_k and top_k < len(logits):
            logits, tokens = logits.topk(top_k)
        probabilities = logits.softmax(-1)
        if self.sampling.min_p:
            probabilities[probabilities < self.sampling.min_p * probabilities.max()] = 0
            probabilities /= probabilities.sum()
        if top_p is not None and top_p < 1:
            probabilities, kept = nucleus(probabilities, top_p)
            tokens = kept if tokens is None else tokens[kept]
        index = int(torch.multinomial(probabilities, 1, generator=self.generator))
        return index if tokens is None else int(tokens[index])

    def _with_logprobs(self, logits: torch.Tensor, token: int) -> SampledToken:
        return scored_token(logits.log_softmax(-1), token, self.sampling.top_logprobs)


def scored_token(logprobs: torch.Tensor, token: int, most: int) -> SampledToken:
    values, tokens = logprobs.topk(most)
    return SampledToken(token, float(logprobs[token]), tuple(zip(tokens.tolist(), values.tolist(), strict=True)))


def is_repeating(tokens: Sequence[int]) -> bool:
    """True if the last tokens are one piece of up to LONGEST_REPEATED_PIECE tokens, REPETITIONS times."""
    for length in range(1, LONGEST_REPEATED_PIECE + 1):
        size = length * REPETITIONS
        if len(tokens) >= size and tokens[-size:-length] == tokens[-size + length :]:
            return True
    return False


def nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest set of tokens with a total probability of `top_p`: (probabilities, token ids), in descending order."""
    values, tokens = probabilities.topk(min(TOP_P_CANDIDATES, len(probabilities)))
    if values.sum() < top_p:
        values, tokens = probabilities.sort(descending=True)
    before = values.cumsum(-1) - values
    size = max(1, int((before < top_p).sum()))
    return values[:size], tokens[:size]


def logprobs_entry(tokenizer: Any, sampled_token: SampledToken) -> JsonObject:
    """One entry of `logprobs.content`, in OpenAI's form."""

    def entry(token: int, logprob: float) -> JsonObject:
        text = tokenizer.decode([token], skip_special_tokens=False)
        return {"token": text, "logprob": round(logprob, 6), "bytes": list(text.encode())}

    return {
        **entry(sampled_token.token, sampled_token.logprob),
        "top_logprobs": [entry(token, logprob) for token, logprob in sampled_token.top],
    }
