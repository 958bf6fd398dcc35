"""Reads from the files of OCR models which characters they can write, without running them. No Django, no torch."""

from __future__ import annotations

import io
import struct
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from api.vision.ocr.languages import Letters

CHARACTERS = b"character"
"""The key of a recogniser's metadata under which PaddleOCR's exporters write one character a line."""
METADATA_PROPS, KEY, VALUE = 14, 1, 2
"""Numbers of fields in ONNX's protobuf messages."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LSTM_UNICHARSET = 21
"""The place of the character list in a traineddata file."""


def characters_of_recogniser(folder: Path) -> Letters:
    """Of the recogniser in a folder of PP-OCR models; nothing where there is none, or where it doesn't say."""
    file = next(iter(sorted(folder.glob("*rec*.onnx"))), None)
    return _cached_characters(file, file.stat().st_mtime_ns) if file else frozenset()


@lru_cache(maxsize=8)
def _cached_characters(file: Path, changed: int) -> Letters:
    with file.open("rb") as stream:
        entries = [dict(fields_in(entry)) for number, entry in fields_of(stream) if number == METADATA_PROPS]
    text = next((entry.get(VALUE, b"") for entry in entries if entry.get(KEY) == CHARACTERS), b"")
    return frozenset(unicodedata.normalize("NFC", text.decode("utf-8", "ignore")).replace("\n", ""))


def fields_of(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that are metadata; the others, weights among them, are passed over unread."""
    while (key := read_varint(stream)) is not None:
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            read_varint(stream)
        elif kind in (FIXED64, FIXED32):
            stream.seek(8 if kind == FIXED64 else 4, 1)
        elif kind == BYTES:
            length = read_varint(stream) or 0
            if number == METADATA_PROPS:
                yield number, stream.read(length)
            else:
                stream.seek(length, 1)
        else:
            return  # no ONNX file


def fields_in(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Of a message whose fields are all texts."""
    stream = io.BytesIO(message)
    while (key := read_varint(stream)) is not None:
        yield key >> 3, stream.read(read_varint(stream) or 0)


def read_varint(stream: BinaryIO) -> int | None:
    """None at the end."""
    value, shift = 0, 0
    while byte := stream.read(1):
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    return None


def characters_of_traineddata(file: Path) -> Letters:
    """Of Tesseract's line recogniser; nothing where the file is not there or has none."""
    return _cached_unicharset(file, file.stat().st_mtime_ns) if file.is_file() else frozenset()


@lru_cache(maxsize=64)
def _cached_unicharset(file: Path, changed: int) -> Letters:
    """The file begins with a table of the offsets of its parts, -1 for one that is missing."""
    content = file.read_bytes()
    (count,) = struct.unpack_from("<i", content)
    offsets = struct.unpack_from(f"<{count}q", content, 4)
    if count <= LSTM_UNICHARSET or offsets[LSTM_UNICHARSET] < 0:
        return frozenset()
    start = offsets[LSTM_UNICHARSET]
    end = min((offset for offset in offsets if offset > start), default=len(content))
    rows = content[start:end].decode("utf-8", "ignore").splitlines()[1:]
    return frozenset(unicodedata.normalize("NFC", "".join(row.partition(" ")[0] for row in rows)))
