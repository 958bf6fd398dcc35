"""What a textual inversion's file holds, by its header."""

from dataclasses import dataclass
from pathlib import Path

from api.images.prompt_syntax.chunks import CHUNK_LENGTH
from api.model_files.header import HeaderError, read_header

XL_PARTS = ("clip_l", "clip_g")
SINGLE = "emb_params"
LARGEST_FILE = 64 << 20
"""Bytes. 75 vectors for both of SDXL's encoders take 0.6 MB."""


@dataclass(frozen=True)
class EmbeddingFile:
    names: tuple[str, ...]
    """The tensors, for the first text encoder, and for SDXL the second."""
    vectors: int
    """Tokens that it takes in a prompt."""


def read_embedding_file(path: Path) -> EmbeddingFile:
    """Raises OSError, and HeaderError for what is no textual inversion."""
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise HeaderError(f"it has {size} bytes, and an embedding has {LARGEST_FILE} at most")
    tensors = read_header(path).tensors
    names = XL_PARTS if all(name in tensors for name in XL_PARTS) else ((SINGLE,) if SINGLE in tensors else tuple(tensors))
    if names != XL_PARTS and len(names) != 1:
        raise HeaderError("it is no textual inversion: it has neither emb_params, nor clip_l and clip_g, nor one tensor alone")
    counts = {_count(name, tensors[name].shape) for name in names}
    if len(counts) > 1:
        raise HeaderError("clip_l and clip_g have different numbers of vectors")
    return EmbeddingFile(names, counts.pop())


def _count(name: str, shape: tuple[int, ...]) -> int:
    count = 1 if len(shape) == 1 else shape[0] if len(shape) == 2 else 0
    if not 1 <= count <= CHUNK_LENGTH or not shape[-1]:
        raise HeaderError(f"{name} has the shape {list(shape)}, and 1 to {CHUNK_LENGTH} vectors can be used")
    return count
