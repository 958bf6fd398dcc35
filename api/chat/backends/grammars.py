"""JSON under a schema, and calls of tools: which tokens may come next, by llguidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer

from api.errors import DarkroomError


class AnswerGrammar:
    """One answer's place in a grammar of llguidance. `field`: of the request, that an error names. `reserve`: see Grammar."""

    def __init__(self, tokenizer: LLTokenizer, grammar: str, field: str, reserve: int = 0) -> None:
        self.tokenizer, self.field, self.reserve = tokenizer, field, reserve
        self.matcher = LLMatcher(tokenizer, grammar)
        self._check()

    def allowed(self, size: int) -> torch.Tensor:
        bits = np.unpackbits(np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        self._check()
        mask = torch.zeros(size, dtype=torch.bool)
        known = min(size, len(bits))
        mask[:known] = torch.from_numpy(bits[:known]).bool()
        return mask

    def closing_quotes(self, size: int) -> torch.Tensor:
        return opening_quote_tokens(self.tokenizer, size)

    def closing(self, allowed: torch.Tensor) -> torch.Tensor:
        """Inside a text (where any letter may come) its end; else the first that is allowed of brackets, a text, the next of a list."""
        marks = single_character_tokens(self.tokenizer, len(allowed))
        is_inside_text = bool(allowed[marks["x"]].any())
        for mark in '"' if is_inside_text else '}]",':
            if allowed[marks[mark]].any():
                found = torch.zeros_like(allowed)
                found[marks[mark]] = True
                return found & allowed
        return allowed

    def accept(self, token: int) -> None:
        self.matcher.consume_token(token)
        self._check()

    @property
    def complete(self) -> bool:
        return self.matcher.is_stopped()

    def _check(self) -> None:
        if self.matcher.is_error():
            raise DarkroomError("schema_failed", 400, "The JSON schema is too complex to be followed.", field=self.field)


class TriggeredGrammar:
    """Free text, until a token that begins calls: from there to their end the answer follows the grammar. And so on.

    `is_once`: the answer ends with the first of them.
    """

    def __init__(self, trigger: int, begin: Callable[[], AnswerGrammar], *, is_once: bool = False) -> None:
        self.trigger, self.begin, self.is_once = trigger, begin, is_once
        self.active: AnswerGrammar | None = None
        self.complete = False

    def allowed(self, size: int) -> torch.Tensor:
        return self.active.allowed(size) if self.active else torch.ones(size, dtype=torch.bool)

    def closing_quotes(self, size: int) -> torch.Tensor:
        return self.active.closing_quotes(size) if self.active else torch.zeros(size, dtype=torch.bool)

    @property
    def reserve(self) -> int:
        return self.active.reserve if self.active else 0

    def closing(self, allowed: torch.Tensor) -> torch.Tensor:
        return self.active.closing(allowed) if self.active else allowed

    def accept(self, token: int) -> None:
        if self.active is None and token == self.trigger:
            self.active = self.begin()
        if self.active is not None:
            self.active.accept(token)
            if self.active.complete:
                self.active, self.complete = None, self.is_once


@lru_cache(maxsize=4)
def opening_quote_tokens(tokenizer: LLTokenizer, size: int) -> torch.Tensor:
    """(size,) bool: which tokens begin with one."""
    mask = torch.zeros(size, dtype=torch.bool)
    known = range(min(size, tokenizer.vocab_size))
    mask[[token for token in known if tokenizer.decode_bytes([token]).startswith(b'"')]] = True
    return mask


@lru_cache(maxsize=4)
def single_character_tokens(tokenizer: LLTokenizer, size: int) -> dict[str, list[int]]:
    """The tokens that are each of these characters, and no more."""
    texts = {token: tokenizer.decode_bytes([token]) for token in range(min(size, tokenizer.vocab_size))}
    return {mark: [token for token, text in texts.items() if text == mark.encode()] for mark in '"}],x'}


def make_grammar_tokenizer(tokenizer: Tokenizer, ends: Sequence[int], vocabulary: int) -> LLTokenizer:
    """Takes about a second with a large vocabulary: keep it."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    return LLTokenizer(plain.to_str(), n_vocab=max(vocabulary, plain.get_vocab_size()), eos_token=list(ends))
