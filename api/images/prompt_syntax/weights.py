"""Attention in AUTOMATIC1111's notation, by its documented rules.

`(red)` is 1.1, `[red]` 1 / 1.1, `(red:1.5)` 1.5; brackets multiply where they nest. A bracket that is never closed acts up to the end,
one that was never opened is a character. `\\(`, `\\)`, `\\[`, `\\]` and `\\\\` are characters, any other backslash vanishes. BREAK in
capitals begins a new window.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ROUND, SQUARE = 1.1, 1 / 1.1
LARGEST_LOGARITHM = 700.0
"""Beyond it a weight is infinite."""

_MARK = re.compile(r"\\[()\[\]\\]|\\|[(\[]|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]]")
_BREAK = re.compile(r"(?:(?<!\s)\s+)?\bBREAK\b\s*")


@dataclass(frozen=True)
class Piece:
    """Text of one weight."""

    text: str
    weight: float = 1.0


Segment = list[Piece]
"""What stands between two BREAKs."""


def parse_weights(prompt: str) -> list[Segment]:
    """At least one segment; a segment may be empty. Takes time in proportion to the prompt, however deep its brackets are."""
    reader = _Reader()
    end = 0
    for match in _MARK.finditer(prompt):
        reader.add_words(prompt[end : match.start()])
        reader.read_mark(match[0], match["weight"])
        end = match.end()
    reader.add_words(prompt[end:])
    return reader.finish()


@dataclass
class _Reader:
    """Brackets are kept as ranges of texts, and multiplied when all are known."""

    texts: list[str] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)
    """Before which texts there is a BREAK."""
    opened: dict[str, list[int]] = field(default_factory=lambda: {"(": [], "[": []})
    """Per kind of bracket: the texts before which one is open."""
    ranges: list[tuple[int, int, float]] = field(default_factory=list)

    def add_words(self, words: str) -> None:
        first, *others = _BREAK.split(words)
        self.add(first)
        for words_after in others:
            self.breaks.add(len(self.texts))
            self.texts.append(words_after)

    def add(self, text: str) -> None:
        if text:
            self.texts.append(text)

    def read_mark(self, mark: str, weight: str | None) -> None:
        if mark in self.opened:
            self.opened[mark].append(len(self.texts))
        elif weight is not None and self.opened["("]:
            self.close("(", float(weight))
        elif mark == ")" and self.opened["("]:
            self.close("(", ROUND)
        elif mark == "]" and self.opened["["]:
            self.close("[", SQUARE)
        elif mark[0] == "\\":
            self.texts.append(mark[1:])
        else:
            self.add_words(mark)

    def close(self, bracket: str, weight: float) -> None:
        self.ranges.append((self.opened[bracket].pop(), len(self.texts), weight))

    def finish(self) -> list[Segment]:
        for bracket, weight in (("(", ROUND), ("[", SQUARE)):
            while self.opened[bracket]:
                self.close(bracket, weight)
        segments: list[Segment] = [[]]
        for number, (text, weight) in enumerate(zip(self.texts, self.weights(), strict=True)):
            if number in self.breaks:
                segments.append([])
            segments[-1].append(Piece(text, weight))
        return [_merge(segment) for segment in segments]

    def weights(self) -> Iterator[float]:
        """Of each text: the product of the ranges that it lies in."""
        begins: dict[int, list[float]] = {}
        ends: dict[int, list[float]] = {}
        for start, end, weight in self.ranges:
            if start < end:
                begins.setdefault(start, []).append(weight)
                ends.setdefault(end, []).append(weight)
        product, value = _Product(), 1.0
        for number in range(len(self.texts)):
            if number in begins or number in ends:
                product.count(ends.get(number, ()), -1)
                product.count(begins.get(number, ()), 1)
                value = product.value
            yield value


class _Product:
    """Of factors that come and go. Kept as counts, since a zero or an infinity could not be divided out again."""

    def __init__(self) -> None:
        self.factors: Counter[float] = Counter()

    def count(self, factors: Iterable[float], times: int) -> None:
        for factor in factors:
            self.factors[factor] += times
            if not self.factors[factor]:
                del self.factors[factor]

    @property
    def value(self) -> float:
        if 0.0 in self.factors:
            return 0.0
        logarithm = math.fsum(times * math.log(abs(factor)) for factor, times in self.factors.items())
        is_negative = sum(times for factor, times in self.factors.items() if factor < 0) % 2
        size = math.exp(logarithm) if logarithm < LARGEST_LOGARITHM else math.inf
        return float(f"{-size if is_negative else size:.12g}")


def _merge(segment: Segment) -> Segment:
    """Neighbours of one weight are one text, so that words are not cut in two."""
    merged: Segment = []
    for piece in segment:
        if merged and math.isclose(merged[-1].weight, piece.weight, rel_tol=1e-9):
            merged[-1] = Piece(merged[-1].text + piece.text, piece.weight)
        else:
            merged.append(piece)
    return [piece for piece in merged if piece.text]
