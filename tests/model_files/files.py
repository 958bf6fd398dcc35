"""Headers of safetensors files, and files that have nothing but one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from api.model_files.header import BITS, Header, TensorInfo

Shape = tuple[int, ...]


def header_of(shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None, dtype: str = "F16") -> Header:
    tensors, place = {}, 0
    for name, shape in shapes.items():
        end = place + prod(shape) * BITS[dtype] // 8
        tensors[name] = TensorInfo(dtype, shape, place, end)
        place = end
    return Header(tensors, dict(metadata or {}))


def write_sparse(file: Path, header: Header) -> Path:
    """A file of the header's size whose weights take no space on the disk."""
    table: dict[str, Any] = {
        name: {"dtype": info.dtype, "shape": info.shape, "data_offsets": [info.start, info.end]}
        for name, info in header.tensors.items()
    }
    if header.metadata:
        table["__metadata__"] = header.metadata
    size = max((info.end for info in header.tensors.values()), default=0)
    return write_raw(file, json.dumps(table).encode(), size)


def write_raw(file: Path, header: bytes, data: int = 0, *, length: int | None = None) -> Path:
    with file.open("wb") as stream:
        stream.write((len(header) if length is None else length).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + data)
    return file
