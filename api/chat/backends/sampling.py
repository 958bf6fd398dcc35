"""One token from the logits: penalties, temperature, top_k, top_p, a grammar, logprobs. Written once for every backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from api.chat.backends.request import Sampling

LONGEST_ROUND, ROUNDS = 16, 24
"""What is no text any more: a piece of so many tokens, so many times. (A row of zeros that means something is shorter.)"""
NUCLEUS = 1024
"""Tokens that are looked at first for top_p; the whole vocabulary is sorted only where they don't hold enough."""


class Grammar(Protocol):
    """What the answer must fit, token by token."""

    def allowed(self, size: int) -> torch.Tensor:
        """(size,) bool: the tokens that may come next."""

    def take(self, token: int) -> None: ...

    def closing(self, size: int) -> torch.Tensor:
        """(size,) bool: the tokens that begin with a quotation mark, which inside a string ends it."""

    @property
    def complete(self) -> bool:
        """Nothing but the end may follow."""


@dataclass
class Picked:
    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens with their log-probabilities, the likeliest first."""


class Sampler:
    """Picks the tokens of one answer. `seed` is its own, so that its neighbours in a batch change nothing."""

    def __init__(
        self,
        sampling: Sampling,
        seed: int,
        *,
        grammar: Grammar | None = None,
        banned: tuple[int, ...] = (),
        ends: frozenset[int] = frozenset(),
        asked: Sequence[int] = (),
    ) -> None:
        self.sampling, self.grammar, self.banned, self.ends, self.asked = sampling, grammar, list(banned), ends, set(asked)
        self.written: list[int] = []
        self.generator = torch.Generator().manual_seed(seed)
        self.seen: Counter[int] = Counter()

    def pick(self, logits: torch.Tensor) -> Picked:
        """`logits`: (vocabulary,) float32 on the CPU, as the model gave them; they are not changed.

        Log-probabilities are the model's own, before penalties, temperature and grammar, as OpenAI reports them.
        """
        shaped = self._penalise(logits.clone())
        shaped[self.banned] = -torch.inf
        if self.grammar is not None:
            shaped[~self._fitting(self.grammar, logits)] = -torch.inf
        token = self._draw(shaped)
        self.seen[token] += 1
        if self.grammar is not None:
            self.written.append(token)
            self.grammar.take(token)
        return self._describe(logits, token) if self.sampling.logprobs else Picked(token)

    def _fitting(self, grammar: Grammar, logits: torch.Tensor) -> torch.Tensor:
        """What the grammar allows. A model that would end its answer, or goes round in circles, ends the string that it is in.

        The end itself is not allowed inside JSON; without this a small model would go on from there with whatever comes next.
        """
        allowed = grammar.allowed(len(logits))
        if int(logits.argmax()) in self.ends or is_going_round(self.written):
            closing = allowed & grammar.closing(len(logits))
            return closing if closing.any() else allowed
        return allowed

    def _penalise(self, logits: torch.Tensor) -> torch.Tensor:
        """OpenAI's formula: logit -= count · frequency_penalty + (count > 0) · presence_penalty, over the tokens sampled so far."""
        sampling = self.sampling
        if sampling.repetition_penalty:
            tokens = torch.tensor(sorted({*self.asked, *self.seen}), dtype=torch.long)
            found = logits[tokens]
            logits[tokens] = torch.where(found > 0, found / sampling.repetition_penalty, found * sampling.repetition_penalty)
        if self.seen and (sampling.frequency_penalty or sampling.presence_penalty):
            tokens = torch.tensor(list(self.seen))
            counts = torch.tensor(list(self.seen.values()), dtype=logits.dtype)
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
        place = int(torch.multinomial(probabilities, 1, generator=self.generator))
        return place if tokens is None else int(tokens[place])

    def _describe(self, logits: torch.Tensor, token: int) -> Picked:
        logprobs = logits.log_softmax(-1)
        values, tokens = logprobs.topk(self.sampling.top_logprobs)
        top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
        return Picked(token, float(logprobs[token]), top)


def is_going_round(tokens: Sequence[int]) -> bool:
    """Whether the last tokens are one and the same piece of up to LONGEST_ROUND, ROUNDS times."""
    for length in range(1, LONGEST_ROUND + 1):
        size = length * ROUNDS
        if len(tokens) >= size and tokens[-size:-length] == tokens[-size + length :]:
            return True
    return False


def nucleus(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The fewest tokens, the likeliest first, that hold `top_p` of the probability together: theirs, and which they are."""
    values, tokens = probabilities.topk(min(NUCLEUS, len(probabilities)))
    if values.sum() < top_p:
        values, tokens = probabilities.sort(descending=True)
    before = values.cumsum(-1) - values
    size = max(1, int((before < top_p).sum()))
    return values[:size], tokens[:size]


def token_table(tokenizer: Any, picked: Picked) -> dict[str, Any]:
    """One entry of `logprobs.content`, in OpenAI's form."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        text = tokenizer.decode([token], skip_special_tokens=False)
        return {"token": text, "logprob": round(logprob, 6), "bytes": list(text.encode())}

    return {
        **entry(picked.token, picked.logprob),
        "top_logprobs": [entry(token, logprob) for token, logprob in picked.top],
    }
