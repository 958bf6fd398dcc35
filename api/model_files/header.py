"""The header of a safetensors file: the only reader of them in the project. No torch, no Django.

The weights are not read. Every number in the header is checked against the file's size before anything relies on it.
"""

from __future__ import annotations

import collections
import json
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

LONGEST_HEADER = 100_000_000
"""Bytes; what the safetensors library itself allows."""
MOST_AXES = 64
"""Of a tensor; torch's own limit."""
LARGEST_NUMBER = 2**63
LONGEST_NAME = 1000
PREFIX = 8
"""Bytes before the header: its length."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PICKLE_PROTOCOLS = (2, 3, 4, 5)
SIGNATURES = (
    (b"PK\x03\x04", "it is a pickle of PyTorch's (a zip archive), which can run code, and no safetensors file"),
    (b"GGUF", "it is a GGUF file, and no safetensors file"),
    (b"\x89HDF", "it is an HDF5 file, and no safetensors file"),
    (b"<", "it is a web page, not the file itself: its download failed"),
)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
"""Of one number of each dtype."""


class HeaderError(ValueError):
    """The message completes a sentence about the file: "it is cut off"."""


class TensorInfo(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Bytes, from the end of the header."""
    end: int

    @property
    def nbytes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str] = field(default_factory=dict)
    begin: int = 0
    """Where the tensors begin in the file."""
    is_gguf: bool = False


def read_header(path: Path) -> Header:
    """Raises HeaderError for what is no whole safetensors file, and OSError for one that can't be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HeaderError("it is no regular file")  # a pipe would never end
    with path.open("rb") as stream:
        start = stream.read(len(LFS_POINTER))
        length = _header_length(start, status.st_size)
        stream.seek(PREFIX)
        content = stream.read(length)
    if len(content) < length:
        raise HeaderError("it is cut off")
    return _parse(content, status.st_size, PREFIX + length)


def is_lfs_pointer(file: Path) -> bool:
    """Is it the note that git keeps in the place of a large file, in a checkout made without Git LFS?"""
    with file.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def _header_length(start: bytes, size: int) -> int:
    """From the first bytes of the file."""
    if not start:
        raise HeaderError("it is empty")
    if start == LFS_POINTER:
        raise HeaderError("it is a Git LFS pointer, not the file itself, which `git lfs pull` fetches")
    if start[PREFIX : PREFIX + 1] != b"{":  # also where the length happens to look like one of these signatures
        raise HeaderError(_other_format(start))
    (length,) = struct.unpack("<Q", start[:PREFIX])
    if length > LONGEST_HEADER and PREFIX + length <= size:
        raise HeaderError(f"its header has {length:,} bytes, and at most {LONGEST_HEADER:,} are read")
    if PREFIX + length > size:
        raise HeaderError("it is cut off, or no safetensors file")
    return int(length)


def _other_format(start: bytes) -> str:
    if start[0] == 0x80 and start[1:2] and start[1] in PICKLE_PROTOCOLS:
        return "it is a pickle, which can run code, and no safetensors file"
    found = (reason for signature, reason in SIGNATURES if start.startswith(signature))
    return next(found, "it is cut off, or no safetensors file" if len(start) <= PREFIX else "it is no safetensors file")


def _parse(content: bytes, size: int, begin: int) -> Header:
    """`begin` is where the tensors begin in a file of `size` bytes."""
    try:
        table = json.loads(content.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError("it is no safetensors file: its header is no JSON") from error
    if not isinstance(table, dict):
        raise HeaderError("it is no safetensors file: its header is no table")
    metadata = _read_metadata(table.pop("__metadata__", {}))
    tensors = {check_name(name): _read_tensor(name, values) for name, values in table.items()}
    _check_offsets(tensors, size, begin)
    return Header(tensors, metadata, begin)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = collections.Counter(name for name, _ in pairs)
        raise HeaderError(f"its header has {quoted(names.most_common(1)[0][0])} twice")
    return table


def _refuse_constant(text: str) -> Any:
    raise HeaderError(f"its header has the number {text}")


def _read_metadata(values: object) -> dict[str, str]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise HeaderError("its metadata is no table of texts")
    return {clean_text(key): clean_text(value) for key, value in values.items()}


def clean_text(text: str) -> str:
    """Without what a database can't keep: NUL, and halves of characters."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def check_name(name: str) -> str:
    if not name or len(name) > LONGEST_NAME or UNPRINTABLE.search(name):
        raise HeaderError(f"its header has the name {quoted(name)}, which no tensor can have")
    return name


def _read_tensor(name: str, values: Any) -> TensorInfo:
    try:
        dtype, shape, (start, end) = values["dtype"], values["shape"], values["data_offsets"]
        is_list = isinstance(shape, list) and len(shape) <= MOST_AXES
    except (TypeError, KeyError, ValueError) as error:
        raise HeaderError(f"it is no safetensors file: its header does not describe the tensor {quoted(name)}") from error
    if not is_list or not all(type(number) is int and 0 <= number < LARGEST_NUMBER for number in (*shape, start, end)):
        raise HeaderError(f"its header gives the tensor {quoted(name)} no valid size")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise HeaderError(f"its tensor {quoted(name)} is of an unknown dtype ({quoted(str(dtype))})")
    numbers = 1
    for axis in shape:
        numbers *= axis
    if numbers * BITS[dtype] != (end - start) * 8:
        raise HeaderError(f"the size of its tensor {quoted(name)} does not fit its shape {shape}")
    return TensorInfo(dtype, tuple(shape), start, end)


def _check_offsets(tensors: dict[str, TensorInfo], size: int, begin: int) -> None:
    """The tensors lie side by side and fill the file: none overlaps another or points outside."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != place:
            raise HeaderError(f"its tensor {quoted(name)} begins at {tensor.start}, and {place} is its place")
        place = tensor.end
    if begin + place != size:
        cut = "it is cut off: " if begin + place > size else ""
        raise HeaderError(f"{cut}it should have {begin + place} bytes and has {size}")


def quoted(text: str) -> str:
    """What a file says, cut short and on one line."""
    short = UNPRINTABLE.sub("?", text[:81])
    return f"'{short[:80]}…'" if len(short) > 80 else f"'{short}'"
