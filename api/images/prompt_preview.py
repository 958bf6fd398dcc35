"""How the server reads a prompt, without making a picture: its pieces with their weights, and how many tokens they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from api.catalog import ModelEntry
from api.images.no_effect import notation_warnings
from api.images.prompt_requests import ReadPrompts, read_prompts
from api.images.prompt_syntax.chunks import CHUNK_LENGTH, Vocabulary, make_chunks
from api.images.prompt_syntax.compel_pieces import read_pieces
from api.images.prompt_syntax.embedding_headers import read_embedding_file
from api.images.prompt_syntax.embedding_names import NamedEmbedding, put_placeholders
from api.images.prompt_syntax.reading import Part, find_parts, find_stretches, named_pieces
from api.images.prompt_syntax.syntaxes import A1111, COMPEL
from api.images.prompt_syntax.tokenizing import ESTIMATE, tokenizer_in
from api.images.prompt_syntax.weights import Piece, Segment, parse_weights
from api.images.scheduler_presets import UNET_FAMILIES
from api.json_types import JsonObject
from api.model_files.header import HeaderError

ESTIMATED = "The model's tokenizer is not here: the numbers of tokens are estimates."


def preview_prompts(*, prompt: str, negative_prompt: str, syntax: str, steps: int, entry: ModelEntry) -> JsonObject:
    """Raises ValidationError, as a request with these prompts would."""
    read = read_prompts(prompt, negative_prompt, syntax, entry)
    counting = tokenizer_in(find_model_folder(entry), is_clip=entry.family in UNET_FAMILIES)
    vectors, broken = count_vectors(read.embeddings)
    vocabulary = Vocabulary(counting.tokenize, counting.comma, [range(count) for count in vectors])
    composes = entry.family in UNET_FAMILIES
    noted = notation_warnings(read.syntax, read.prompt, read.negative_prompt, composes=composes)
    warnings = [*read.warnings, *noted, *broken]
    if counting.origin == ESTIMATE:
        warnings.append(ESTIMATED)
    texts = {"prompt": read.prompt, "negative_prompt": read.negative_prompt}
    return {
        "model_id": entry.id,
        "prompt_syntax": read.syntax,
        "tokenizer": counting.origin,
        "window": CHUNK_LENGTH,
        **{
            name: describe(split(text, read, steps, composes=composes and name == "prompt"), text, read, vocabulary)
            for name, text in texts.items()
        },
        "loras": read.loras,
        "embeddings": [
            {"name": one.name, "id": one.entry.id, "vectors": count}
            for one, count in zip(read.embeddings, vectors, strict=True)
        ],
        "warnings": warnings,
    }


@dataclass(frozen=True)
class ReadStretch:
    """One part of a prompt, up to and with step `last`."""

    part: int
    weight: float
    """Of the part."""
    last: int
    segments: list[Segment]


def describe(stretches: Sequence[ReadStretch], text: str, read: ReadPrompts, vocabulary: Vocabulary) -> JsonObject:
    described = [describe_stretch(stretch, read.embeddings, vocabulary) for stretch in stretches]
    return {"text": text, "tokens": max(tokens for tokens, _ in described), "stretches": [shown for _, shown in described]}


def split(text: str, read: ReadPrompts, steps: int, *, composes: bool) -> list[ReadStretch]:
    if read.syntax == A1111:
        joined = Part(1.0, find_stretches(text, steps, read.embeddings))
        parts = find_parts(text, steps, read.embeddings) if composes else [joined]
        return [
            ReadStretch(number, part.weight, one.last, parse_weights(one.text))
            for number, part in enumerate(parts)
            for one in part.stretches
        ]
    placed = put_placeholders(text, read.embeddings)
    return [ReadStretch(0, 1.0, steps, [read_pieces(placed) if read.syntax == COMPEL else [Piece(placed)]])]


def describe_stretch(
    stretch: ReadStretch, embeddings: Sequence[NamedEmbedding], vocabulary: Vocabulary
) -> tuple[int, JsonObject]:
    """Its tokens, and how it is shown."""
    chunks = [len(chunk.tokens) for chunk in make_chunks(stretch.segments, vocabulary)]
    pieces: list[Any] = []
    for number, segment in enumerate(stretch.segments):
        pieces += [{"break": True}] * bool(number)
        pieces += [{"text": piece.text, "weight": piece.weight} for piece in named_pieces([segment], embeddings)]
    return sum(chunks), {
        "part": stretch.part,
        "weight": stretch.weight,
        "last_step": stretch.last,
        "tokens": sum(chunks),
        "chunks": chunks,
        "pieces": pieces,
    }


def count_vectors(embeddings: Sequence[NamedEmbedding]) -> tuple[list[int], list[str]]:
    """Of each; and a sentence for each file that can't be read."""
    counts, broken = [], []
    for embedding in embeddings:
        try:
            counts.append(read_embedding_file(embedding.entry.path).vectors)
        except (HeaderError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            counts.append(1)
            broken.append(f"The file of the embedding '{embedding.name}' can't be used: {reason}.")
    return counts, broken


def find_model_folder(entry: ModelEntry) -> Any:
    from api.downloads.store import ModelStore

    return None if entry.single_file else ModelStore(settings.MODELS_DIR).folder(entry)
