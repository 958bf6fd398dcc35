"""The header of a GGUF file, in which weights are kept in few bits: its tensors and its texts. No torch, no Django.

Read by ourselves, as that of a safetensors file is: every number is checked against the file's size before anything relies on it, and a
web process needs neither numpy's maps of gigabytes nor the `gguf` package for it.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from api.model_files.header import Header, HeaderError, TensorInfo, check_name, clean_text, quoted, read_header

MAGIC = b"GGUF"
SUFFIX = ".gguf"
VERSIONS = (2, 3)
LONGEST_HEADER = 32_000_000
"""Bytes. A language model's vocabulary takes 10 million; models of pictures have none."""
LONGEST_TEXT = 1_000_000
MOST_TENSORS = 100_000
MOST_AXES = 4
ALIGNMENT = "general.alignment"
USUAL_ALIGNMENT = 32
ARCHITECTURE = "general.architecture"
USED_FAMILIES = {"sd3": "SD 3", "flux": "FLUX"}

TEXT, ARRAY, UINT32 = 8, 9, 4
NUMBER_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""By the type of a value that is a number."""


STORAGES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""By the number of the storage: its name, the numbers of a block, and the bytes that they take."""
COMPUTED = frozenset(("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"))
"""Those of few bits that diffusers computes with."""
PLAIN = frozenset(("F32", "F16", "BF16"))


def why_not_used(header: Header, family: str) -> str:
    """A sentence about a GGUF file's header; "" where it is used."""
    if family not in USED_FAMILIES:
        said = header.metadata.get(ARCHITECTURE, "")[:40]
        kind = f" (its architecture is {quoted(said)})" if said else ""
        return f"It is a GGUF file{kind}, of which only models of {' and '.join(USED_FAMILIES.values())} are used."
    odd = sorted({tensor.dtype for tensor in header.tensors.values()} - COMPUTED - PLAIN)
    return (
        f"Its weights are stored as {odd[0]}, which is not computed with; use a file in Q8_0, Q6_K, Q5_K or Q4_K."
        if odd
        else ""
    )


@dataclass
class _Reader:
    stream: BinaryIO
    size: int
    """Of the file."""

    def take(self, count: int) -> bytes:
        if self.stream.tell() + count > min(self.size, LONGEST_HEADER):
            self.fail(count)
        content = self.stream.read(count)
        if len(content) < count:
            raise HeaderError("it is cut off")
        return content

    def skip(self, count: int) -> None:
        if self.stream.tell() + count > min(self.size, LONGEST_HEADER):
            self.fail(count)
        self.stream.seek(count, 1)

    def fail(self, count: int) -> NoReturn:
        if self.stream.tell() + count > self.size:
            raise HeaderError("it is cut off, or no GGUF file")
        raise HeaderError(f"its header has more than {LONGEST_HEADER:,} bytes")

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0])

    def text(self) -> str:
        length = self.number("Q")
        if length > LONGEST_TEXT:
            raise HeaderError(f"its header has a text of {length:,} bytes")
        return self.take(length).decode("utf-8", "replace")


def read_any_header(path: Path) -> Header:
    """Of a safetensors or a GGUF file, by the ending of its name. Raises HeaderError, OSError."""
    return read_gguf_header(path) if path.suffix.lower() == SUFFIX else read_header(path)


def read_gguf_header(path: Path) -> Header:
    """The tensors' shapes are torch's: the last axis lies together. Raises HeaderError, and OSError for a file that can't be read."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HeaderError("it is no regular file")
    with path.open("rb") as stream:
        reader = _Reader(stream, status.st_size)
        if status.st_size < len(MAGIC) or reader.take(len(MAGIC)) != MAGIC:
            raise HeaderError("it is no GGUF file")
        version = reader.number("I")
        if version not in VERSIONS:
            raise HeaderError(f"it is of GGUF's version {version}, and {' and '.join(map(str, VERSIONS))} are read")
        count, values = reader.number("Q"), reader.number("Q")
        if count > MOST_TENSORS or values > MOST_TENSORS:
            raise HeaderError("it is no GGUF file: its header counts more tensors than a model has")
        metadata, alignment = _read_values(reader, values)
        tensors = _read_tensors(reader, count)
        begin = -(-stream.tell() // alignment) * alignment
    _check_places(tensors, alignment, status.st_size - begin)
    return Header(tensors, metadata, begin=begin, is_gguf=True)


def _read_values(reader: _Reader, count: int) -> tuple[dict[str, str], int]:
    """The texts, and where tensors may begin."""
    texts: dict[str, str] = {}
    alignment = USUAL_ALIGNMENT
    for _ in range(count):
        key, kind = reader.text(), reader.number("I")
        if kind == TEXT:
            texts[clean_text(key)] = clean_text(reader.text())
        elif (key, kind) == (ALIGNMENT, UINT32):
            alignment = reader.number("I")
        else:
            _skip_value(reader, kind)
    if not 1 <= alignment <= 2**20:
        raise HeaderError(f"its header has the alignment {alignment}")
    return texts, alignment


def _skip_value(reader: _Reader, kind: int) -> None:
    if kind in NUMBER_BYTES:
        reader.skip(NUMBER_BYTES[kind])
        return
    item, count = (reader.number("I"), reader.number("Q")) if kind == ARRAY else (kind, 0)
    if item in NUMBER_BYTES:
        reader.skip(NUMBER_BYTES[item] * count)
    elif item == TEXT and kind == ARRAY:
        for _ in range(count):
            reader.skip(reader.number("Q"))
    else:
        raise HeaderError(f"it is no GGUF file: its header has a value of the kind {item}")


def _read_tensors(reader: _Reader, count: int) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for _ in range(count):
        name, axes = check_name(reader.text()), reader.number("I")
        if axes > MOST_AXES:
            raise HeaderError(f"its header gives the tensor {quoted(name)} {axes} axes")
        shape = tuple(reversed([reader.number("Q") for _ in range(axes)]))
        storage, start = reader.number("I"), reader.number("Q")
        if name in tensors:
            raise HeaderError(f"its header has {quoted(name)} twice")
        tensors[name] = _describe(name, shape, storage, start)
    return tensors


def _describe(name: str, shape: tuple[int, ...], storage: int, start: int) -> TensorInfo:
    if storage not in STORAGES:
        raise HeaderError(f"its tensor {quoted(name)} is stored in a way that is not known ({storage})")
    dtype, block, nbytes = STORAGES[storage]
    if shape and shape[-1] % block:
        raise HeaderError(f"its tensor {quoted(name)} has rows of {shape[-1]}, which are no blocks of {dtype}")
    numbers = 1
    for axis in shape:
        numbers *= axis
    return TensorInfo(dtype, shape, start, start + numbers // block * nbytes)


def _check_places(tensors: dict[str, TensorInfo], alignment: int, size: int) -> None:
    """No tensor overlaps another or ends behind the file. `size` is that of what follows the header."""
    place = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start < place or tensor.start % alignment:
            raise HeaderError(f"its tensor {quoted(name)} begins at {tensor.start}, where it can't lie")
        place = tensor.end
    if place > size:
        raise HeaderError(f"it is cut off: its tensors take {place} bytes and it has {max(0, size)} for them")
