"""Incremental detokenization: whole characters only, and never a stop string or the start of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from api.chat.overlap import overlap
from api.json_text import without_unkept


class StopFilter:
    """Withholds text that may turn out to be a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = tuple(stop)
        self.pending = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """The text that can be sent now; '' after the first stop string."""
        if self.stopped:
            return ""
        self.pending += piece
        found = [(place + len(word), place) for word in self.stop if (place := self.pending.find(word)) >= 0]
        if found:  # the one that is complete first, in whatever pieces the text comes
            self.stopped = True
            text, self.pending = self.pending[: min(found)[1]], ""
            return text
        keep = max((overlap(self.pending, stop_string) for stop_string in self.stop), default=0)
        text, self.pending = self.pending[: len(self.pending) - keep], self.pending[len(self.pending) - keep :]
        return text

    def flush(self) -> str:
        """The withheld text, at the end of the sequence."""
        text, self.pending = ("" if self.stopped else self.pending), ""
        return text


class Detokenizer:
    """The tokens of one sequence as text. Bytes of an incomplete character are withheld.

    `kept`: special tokens that are text of the answer, with their spelling. Others are not.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], kept: Mapping[int, str] | None = None) -> None:
        self.tokenizer, self.filter, self.kept = tokenizer, StopFilter(stop), kept or {}
        self.stream = DecodeStream(skip_special_tokens=True)
        self.tokens: list[int] = []
        self.decoded = ""

    @property
    def stopped(self) -> bool:
        return self.filter.stopped

    def push(self, token: int) -> str:
        self.tokens.append(token)
        piece = self.stream.step(self.tokenizer, token) or ""
        self.decoded += piece
        return self.filter.push(without_unkept(piece) + self.kept.get(token, ""))

    def flush(self) -> str:
        """The rest, at the end of the sequence; an incomplete character becomes U+FFFD."""
        whole = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        rest = whole[len(self.decoded) :] if whole.startswith(self.decoded) else ""
        return self.filter.push(rest) + self.filter.flush()


def text_offsets(tokenizer: Tokenizer, tokens: Sequence[int], skip_special_tokens: bool) -> list[int]:
    """Where the text of each token begins in that of all. Those of one character begin where it does."""
    stream, offsets, length = DecodeStream(skip_special_tokens=skip_special_tokens), [], 0
    for token in tokens:
        offsets.append(length)
        length += len(stream.step(tokenizer, token) or "")
    return offsets
