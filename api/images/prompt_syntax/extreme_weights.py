"""Weights in a prompt that make no picture, and what only looks like one. No torch, no Django."""

import re
from collections.abc import Iterator

from api.images.prompt_notation import MOST_SHOWN, shorten
from api.images.prompt_syntax.compel_pieces import read_pieces
from api.images.prompt_syntax.schedule import final_text, join_compositions
from api.images.prompt_syntax.syntaxes import COMPEL
from api.images.prompt_syntax.weights import Segment, parse_weights

LARGEST_USUAL = 10
EXPONENT = re.compile(r"(?<=\))(\d+(?:\.\d+)?)([eE][+-]?\d+)")


def describe_weights(field: str, prompt: str, syntax: str) -> Iterator[str]:
    """Sentences for the job's warnings. `syntax`: compel or a1111."""
    pieces = [piece for segment in segments_of(prompt, syntax) for piece in segment if piece.text.strip()]
    for piece in [piece for piece in pieces if abs(piece.weight) > LARGEST_USUAL][:MOST_SHOWN]:
        words = shorten(piece.text.strip())
        yield f"{field}: {words} has the weight {piece.weight:.3g}; beyond {LARGEST_USUAL} what is made is mostly noise."
    if syntax == COMPEL and (match := EXPONENT.search(prompt)):
        yield f"{field}: {match[0]} is read as the weight {match[1]} and the word {match[2]}: a weight has no exponent."


def segments_of(prompt: str, syntax: str) -> list[Segment]:
    return [read_pieces(prompt)] if syntax == COMPEL else parse_weights(final_text(join_compositions(prompt)[0]))
