"""A prompt in AUTOMATIC1111's notation, read as a whole."""

from collections.abc import Iterator, Sequence

from api.images.prompt_syntax.embedding_names import NamedEmbedding, put_names, put_placeholders
from api.images.prompt_syntax.schedule import Stretch, final_text, join_compositions, make_schedule
from api.images.prompt_syntax.weights import Piece, Segment, parse_weights

MOST_TEXTS = 64
"""Different texts that one prompt may be at different steps: each is encoded by itself."""
AND_IS_NOT_DONE = "AND between prompts (their composition) is not done here: the parts were read as one prompt."


def find_stretches(prompt: str, steps: int, embeddings: Sequence[NamedEmbedding] = ()) -> list[Stretch]:
    """In the order of the steps. Embeddings are placeholders in the texts; weights are still to be read."""
    joined, _ = join_compositions(put_placeholders(prompt, embeddings))
    return make_schedule(joined, steps)


def count_texts(prompt: str, steps: int) -> int:
    return len({stretch.text for stretch in find_stretches(prompt, steps)})


def has_composition(prompt: str) -> bool:
    return join_compositions(prompt)[1]


def words_of(prompt: str) -> str:
    """Without any marks; of a prompt that changes, what it is at the end."""
    segments = parse_weights(final_text(join_compositions(prompt)[0]))
    return " ".join(piece.text.strip() for segment in segments for piece in segment if piece.text.strip())


def named_pieces(segments: Sequence[Segment], embeddings: Sequence[NamedEmbedding]) -> Iterator[Piece]:
    """With the embeddings' names where their placeholders are."""
    for segment in segments:
        yield from (Piece(put_names(piece.text, embeddings), piece.weight) for piece in segment)
