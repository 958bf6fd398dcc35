"""A prompt read as a whole: what a model is given of it, at which step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from api.images.prompt_syntax.compel_pieces import read_pieces
from api.images.prompt_syntax.embedding_names import NamedEmbedding, put_names, put_placeholders
from api.images.prompt_syntax.schedule import (
    Stretch,
    final_text,
    join_compositions,
    make_schedule,
    split_compositions,
)
from api.images.prompt_syntax.syntaxes import A1111, COMPEL
from api.images.prompt_syntax.weights import Piece, Segment, parse_weights

MOST_TEXTS = 64
"""Different texts that one prompt may be at different steps: each is encoded by itself."""
MOST_PARTS = 8
"""Prompts that one is composed of by AND: each is an entry of every pass."""
AND_IS_NOT_DONE = (
    "AND composes prompts at a guidance_scale above 1, by models of the families SD 1.x, SD 2.x and SDXL, and never in negative_prompt: "
    "here the parts were read as one prompt."
)


@dataclass(frozen=True)
class Part:
    """One of the prompts that a prompt is composed of."""

    weight: float
    stretches: list[Stretch]


def find_parts(prompt: str, steps: int, embeddings: Sequence[NamedEmbedding] = ()) -> list[Part]:
    """Those between AND, each as `find_stretches` gives it."""
    return [
        Part(weight, make_schedule(text, steps)) for text, weight in split_compositions(put_placeholders(prompt, embeddings))
    ]


def find_stretches(prompt: str, steps: int, embeddings: Sequence[NamedEmbedding] = ()) -> list[Stretch]:
    """In the order of the steps. Embeddings are placeholders in the texts; weights are still to be read."""
    joined, _ = join_compositions(put_placeholders(prompt, embeddings))
    return make_schedule(joined, steps)


def count_texts(prompt: str, steps: int) -> int:
    return len({stretch.text for part in find_parts(prompt, steps) for stretch in part.stretches})


def count_parts(prompt: str) -> int:
    return len(split_compositions(prompt))


def has_composition(prompt: str) -> bool:
    return join_compositions(prompt)[1]


def words_of(prompt: str) -> str:
    """Without any marks; of a prompt that changes, what it is at the end."""
    segments = parse_weights(final_text(join_compositions(prompt)[0]))
    return " ".join(piece.text.strip() for segment in segments for piece in segment if piece.text.strip())


def texts_read(prompt: str, syntax: str, step_counts: Sequence[int]) -> tuple[str, ...]:
    """What a model is given of a prompt at some step of so many, without any marks: its pieces apart, and without a gap, since a word
    may be written in pieces.
    """
    segments = [read_pieces(prompt)] if syntax == COMPEL else []
    stretches: list[Stretch] = []
    if syntax == A1111:
        stretches = [one for steps in step_counts for part in find_parts(prompt, steps) for one in part.stretches]
    segments += [segment for text in dict.fromkeys(one.text for one in stretches) for segment in parse_weights(text)]
    return tuple(dict.fromkeys(gap.join(piece.text for piece in segment) for segment in segments for gap in (" ", "")))


def named_pieces(segments: Sequence[Segment], embeddings: Sequence[NamedEmbedding]) -> Iterator[Piece]:
    """With the embeddings' names where their placeholders are."""
    for segment in segments:
        yield from (Piece(put_names(piece.text, embeddings), piece.weight) for piece in segment)
