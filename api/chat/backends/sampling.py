"""One token from the logits: penalties, temperature, top_k, top_p, a grammar, logprobs. Written once for every backend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from api.chat.backends.request import Sampling

NUCLEUS = 1024
"""Tokens that are looked at first for top_p; the whole vocabulary is sorted only where they don't hold enough."""


class Grammar(Protocol):
    """What the answer must fit, token by token."""

    def allowed(self, size: int) -> torch.Tensor:
        """(size,) bool: the tokens that may come next."""

    def take(self, token: int) -> None: ...

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

    def __init__(self, sampling: Sampling, seed: int, *, grammar: Grammar | None = None, banned: tuple[int, ...] = ()) -> None:
        self.sampling, self.grammar, self.banned = sampling, grammar, list(banned)
        self.generator = torch.Generator().manual_seed(seed)
        self.seen: Counter[int] = Counter()

    def pick(self, logits: torch.Tensor) -> Picked:
        """`logits`: (vocabulary,) float32 on the CPU, as the model gave them; they are not changed.

        Log-probabilities are the model's own, before penalties, temperature and grammar, as OpenAI reports them.
        """
        shaped = self._penalise(logits.clone())
        shaped[self.banned] = -torch.inf
        if self.grammar is not None:
            shaped[~self.grammar.allowed(len(shaped))] = -torch.inf
        token = self._draw(shaped)
        self.seen[token] += 1
        if self.grammar is not None:
            self.grammar.take(token)
        return self._describe(logits, token) if self.sampling.logprobs else Picked(token)

    def _penalise(self, logits: torch.Tensor) -> torch.Tensor:
        """OpenAI's formula: logit -= count · frequency_penalty + (count > 0) · presence_penalty, over the tokens sampled so far."""
        sampling = self.sampling
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
