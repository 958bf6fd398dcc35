"""Textual inversion embeddings: their files, read for the text encoders of a model.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from api.catalog import Catalog, ModelEntry
from api.errors import DarkroomError
from api.images.backends.text_encoders import FIRST_VECTOR, EncoderWithVectors, TokenizerWithVectors
from api.images.prompt_syntax.embedding_headers import read_embedding_file
from api.images.prompt_syntax.embedding_names import NamedEmbedding, find_named
from api.images.spec import Txt2ImgSpec


def find_embeddings(catalog: Catalog, entry: ModelEntry, spec: Txt2ImgSpec) -> tuple[NamedEmbedding, ...]:
    return find_named([spec.prompt, spec.negative_prompt], catalog.embeddings_for(entry.id))


def stamp_of(embedding: NamedEmbedding) -> tuple[NamedEmbedding, int]:
    """Another one where its file has changed."""
    path = embedding.entry.path
    return embedding, path.stat().st_mtime_ns if path.is_file() else 0


def with_embeddings(
    tokenizer: Any, encoder: Any, embeddings: Sequence[NamedEmbedding], number: int, model: str
) -> tuple[Any, Any]:
    """The tokenizer and the `number`-th encoder of a model, to which these embeddings are tokens. Raises DarkroomError."""
    if not embeddings:
        return tokenizer, encoder
    parts = [_vectors_for(embedding, encoder, number, model) for embedding in embeddings]
    ids: list[range] = []
    for part in parts:
        first = ids[-1].stop if ids else FIRST_VECTOR
        ids.append(range(first, first + len(part)))
    return TokenizerWithVectors(tokenizer, ids), EncoderWithVectors(encoder, torch.cat(parts))


def _vectors_for(embedding: NamedEmbedding, encoder: Any, number: int, model: str) -> torch.Tensor:
    """(vectors, width) of the encoder's width."""
    parts = read_embedding(embedding)
    part = parts[number] if number < len(parts) else None
    width = encoder.get_input_embeddings().weight.shape[1]
    if part is None or part.shape[1] != width:
        has = " and ".join(str(one.shape[1]) for one in parts)
        of_encoder = f"its {'first' if number == 0 else 'second'} text encoder takes {width}"
        detail = f"The embedding '{embedding.name}' has vectors of {has} numbers; it does not fit {model}: {of_encoder}."
        raise DarkroomError("embedding_mismatch", 400, detail, field="prompt")
    return part


def read_embedding(embedding: NamedEmbedding) -> tuple[torch.Tensor, ...]:
    """In fp32, for the first text encoder, and for SDXL the second. Raises DarkroomError (embedding_broken, 422)."""
    path = embedding.entry.path
    try:
        status = path.stat()
        return _read(path, status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        detail = f"The file of the embedding '{embedding.name}' can't be used: {reason}."
        raise DarkroomError("embedding_broken", 422, detail, field="prompt") from error


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> tuple[torch.Tensor, ...]:
    """Raises ValueError with a reason."""
    names = read_embedding_file(path).names
    tensors = load_file(path)
    for name in names:
        if not torch.isfinite(tensors[name].float()).all():
            raise ValueError(f"{name} has values that are not numbers")
    return tuple(torch.atleast_2d(tensors[name].float()) for name in names)
