"""JSON under a schema: which tokens may come next, by llguidance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer

from api.chat.json_schemas import grammar_of
from api.errors import DarkroomError
from api.json_types import JsonObject


class JsonGrammar:
    """One answer's place in the grammar of its schema."""

    def __init__(self, tokenizer: LLTokenizer, schema: JsonObject) -> None:
        self.tokenizer = tokenizer
        self.matcher = LLMatcher(tokenizer, grammar_of(schema))
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

    def accept(self, token: int) -> None:
        self.matcher.consume_token(token)
        self._check()

    @property
    def complete(self) -> bool:
        return self.matcher.is_stopped()

    def _check(self) -> None:
        if self.matcher.is_error():
            raise DarkroomError("schema_failed", 400, "The JSON schema is too complex to be followed.", field="response_format")


@lru_cache(maxsize=4)
def opening_quote_tokens(tokenizer: LLTokenizer, size: int) -> torch.Tensor:
    """(size,) bool: which tokens begin with one."""
    mask = torch.zeros(size, dtype=torch.bool)
    known = range(min(size, tokenizer.vocab_size))
    mask[[token for token in known if tokenizer.decode_bytes([token]).startswith(b'"')]] = True
    return mask


def make_grammar_tokenizer(tokenizer: Tokenizer, ends: Sequence[int], vocabulary: int) -> LLTokenizer:
    """Takes about a second with a large vocabulary: keep it."""
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_padding()
    plain.no_truncation()
    return LLTokenizer(plain.to_str(), n_vocab=max(vocabulary, plain.get_vocab_size()), eos_token=list(ends))
