"""From tokens to the text that a client may read: whole characters only, and never a stop string or the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class StopFilter:
    """Passes text on, except what may yet turn out to be a stop string."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop = tuple(stop)
        self.held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What can be said now. After the first stop string nothing comes any more."""
        if self.stopped:
            return ""
        self.held += piece
        places = [place for text in self.stop if (place := self.held.find(text)) >= 0]
        if places:
            self.stopped = True
            said, self.held = self.held[: min(places)], ""
            return said
        keep = max((overlap(self.held, text) for text in self.stop), default=0)
        said, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return said

    def flush(self) -> str:
        """The answer has ended: what was held back was no stop string."""
        said, self.held = ("" if self.stopped else self.held), ""
        return said


def overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


class TextStream:
    """The tokens of one answer as text. Bytes of a character that is not whole yet are held back."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.tokenizer, self.filter = tokenizer, StopFilter(stop)
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
        return self.filter.push(piece)

    def flush(self) -> str:
        """What is left at the end: half a character becomes U+FFFD."""
        whole = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        rest = whole[len(self.decoded) :] if whole.startswith(self.decoded) else ""
        return self.filter.push(rest) + self.filter.flush()
