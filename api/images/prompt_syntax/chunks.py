"""From pieces of text to windows of 75 tokens, as AUTOMATIC1111 fills them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from api.images.prompt_syntax.embedding_names import PLACEHOLDERS, number_of
from api.images.prompt_syntax.weights import Segment

CHUNK_LENGTH = 75
"""Of a window of 77, without its start and end."""
COMMA_BACKTRACK = 20
"""A chunk that is full ends behind a comma that is at most so many tokens back."""

Tokenize = Callable[[str], Sequence[int]]


@dataclass
class Chunk:
    tokens: list[int] = field(default_factory=list)
    """Ids of the vocabulary; one from VECTORS upwards is a vector of an embedding."""
    weights: list[float] = field(default_factory=list)
    comma_end: int = 0
    """How many tokens there are up to and with the last comma; 0 without one."""


@dataclass(frozen=True)
class Vocabulary:
    """What is asked of a model's tokenizer."""

    tokenize: Tokenize
    """Ids without start and end."""
    comma: int
    vector_ids: Sequence[Sequence[int]] = ()
    """Of each embedding."""


def make_chunks(segments: Iterable[Segment], vocabulary: Vocabulary) -> list[Chunk]:
    """At least one."""
    filling = _Filling(vocabulary)
    for number, segment in enumerate(segments):
        if number:
            filling.end_chunk()
        for piece in segment:
            for token, is_vector in _tokens_of(piece.text, vocabulary):
                if is_vector:
                    filling.add_together(token, piece.weight)
                else:
                    filling.add(token[0], piece.weight)
    return filling.finish()


def _tokens_of(text: str, vocabulary: Vocabulary) -> Iterable[tuple[Sequence[int], bool]]:
    """Single tokens, and the vectors of an embedding together."""
    end = 0
    for match in PLACEHOLDERS.finditer(text):
        yield from (((token,), False) for token in vocabulary.tokenize(text[end : match.start()]))
        yield vocabulary.vector_ids[number_of(match[0])], True
        end = match.end()
    yield from (((token,), False) for token in vocabulary.tokenize(text[end:]))


@dataclass
class _Filling:
    vocabulary: Vocabulary
    chunks: list[Chunk] = field(default_factory=list)
    chunk: Chunk = field(default_factory=Chunk)

    def add(self, token: int, weight: float) -> None:
        is_comma = token == self.vocabulary.comma
        if len(self.chunk.tokens) == CHUNK_LENGTH:
            self.begin_next(moves_words=not is_comma)
        self.chunk.tokens.append(token)
        self.chunk.weights.append(weight)
        if is_comma:
            self.chunk.comma_end = len(self.chunk.tokens)

    def add_together(self, tokens: Sequence[int], weight: float) -> None:
        """An embedding is never cut in two."""
        if len(self.chunk.tokens) == CHUNK_LENGTH:
            self.begin_next(moves_words=True)
        if len(self.chunk.tokens) + len(tokens) > CHUNK_LENGTH:
            self.end_chunk()
        self.chunk.tokens += tokens
        self.chunk.weights += [weight] * len(tokens)

    def begin_next(self, *, moves_words: bool) -> None:
        """The words behind the last comma go on into the next chunk, if they are few."""
        full, end = self.chunk, self.chunk.comma_end
        if not (moves_words and end and CHUNK_LENGTH - end < COMMA_BACKTRACK):
            self.end_chunk()
            return
        self.chunk = Chunk(full.tokens[:end], full.weights[:end])
        self.end_chunk()
        self.chunk = Chunk(full.tokens[end:], full.weights[end:])

    def end_chunk(self) -> None:
        self.chunks.append(self.chunk)
        self.chunk = Chunk()

    def finish(self) -> list[Chunk]:
        if self.chunk.tokens or not self.chunks:
            self.end_chunk()
        return self.chunks
