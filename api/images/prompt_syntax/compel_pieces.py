"""Compel's weights, read without Compel: for people who look at a prompt. What is encoded is what Compel itself reads."""

import re

from api.images.prompt_syntax.weights import Piece

UP, DOWN = 1.1, 0.9
_MARK = re.compile(
    r'\\.|\)(?P<weight>\++|-+|\d+(?:\.\d+)?)?|\(|(?P<word>[^\s()+\\"]+?)(?P<signs>\++|--+)(?=[\s,).]|$)', re.DOTALL
)


def read_pieces(prompt: str) -> list[Piece]:
    """Text with weights; brackets without a weight are text."""
    pieces: list[Piece] = []
    opened: list[int] = []
    end = 0
    for match in _MARK.finditer(prompt):
        _add(pieces, prompt[end : match.start()])
        end = match.end()
        if match["word"]:
            _add(pieces, match["word"], weight_of(match["signs"]))
        elif match[0] == "(":
            opened.append(len(pieces))
            pieces.append(Piece("("))
        elif match[0][0] == ")" and opened:
            _close(pieces, opened.pop(), match["weight"])
        else:
            _add(pieces, match[0])
    _add(pieces, prompt[end:])
    return _merge(pieces)


def weight_of(mark: str) -> float:
    if mark[0] in "+-":
        return round((UP if mark[0] == "+" else DOWN) ** len(mark), 6)
    return float(mark)


def _add(pieces: list[Piece], text: str, weight: float = 1.0) -> None:
    if text:
        pieces.append(Piece(text, weight))


def _close(pieces: list[Piece], start: int, mark: str | None) -> None:
    if mark is None:
        _add(pieces, ")")
        return
    factor = weight_of(mark)
    pieces[start:] = [Piece(piece.text, round(piece.weight * factor, 6)) for piece in pieces[start + 1 :]]


def _merge(pieces: list[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].weight == piece.weight:
            merged[-1] = Piece(merged[-1].text + piece.text, piece.weight)
        else:
            merged.append(piece)
    return merged
