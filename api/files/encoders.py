"""What writes a picture's file: Pillow, and OpenCV where it is quicker. No Django; OpenCV and numpy are imported at the first use.

An encoder takes the picture, Pillow's name of the codec and Pillow's options, and gives the file's bytes.
"""

import io
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from PIL import Image

Encoder = Callable[[Image.Image, str, Mapping[str, Any]], bytes]
Chunk = tuple[bytes, bytes]

OPENCV_ORDER = {"L": "L", "RGB": "BGR", "RGBA": "BGRA"}
"""By Pillow's mode: the order of a pixel's bytes that OpenCV takes. Its other modes (palette, one bit, 16 bits) go to Pillow."""
OPENCV_OPTIONS = frozenset({"compress_level", "compress_type", "pnginfo"})
OPENCV_LONGEST_SIDE = 1_000_000
"""In pixels: libpng's own limit, which OpenCV leaves as it is."""
KEPT_BY_PILLOW = frozenset({"icc_profile", "transparency"})
"""What Pillow writes of a picture's `info`, and OpenCV does not."""
TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_END_OF_HEADER = 33
"""Bytes: the signature (8) and the chunk IHDR (25), which is always the first."""


def encode_with_pillow(image: Image.Image, codec: str, options: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, codec, **options)
    return buffer.getvalue()


def encode_png_with_opencv(image: Image.Image, codec: str, options: Mapping[str, Any]) -> bytes:
    """The pixels and texts of Pillow's file in less than half of its time, and without the GIL; by Pillow what OpenCV can't write.

    Of the filters Paeth alone: trying them all, as Pillow does, takes longer than compressing, and saves little.
    """
    if not _opencv_can_write(image, options):
        return encode_with_pillow(image, codec, options)
    import cv2
    import numpy as np

    order = OPENCV_ORDER[image.mode]
    pixels = np.frombuffer(image.tobytes("raw", order), np.uint8).reshape(image.height, image.width, len(order))
    level, strategy = options["compress_level"], options["compress_type"]  # zlib's, of both libraries
    # The strategy comes after the level, which sets it to the default.
    settings = {
        cv2.IMWRITE_PNG_COMPRESSION: level,
        cv2.IMWRITE_PNG_STRATEGY: strategy,
        cv2.IMWRITE_PNG_FILTER: cv2.IMWRITE_PNG_FILTER_PAETH,
    }
    _, encoded = cv2.imencode(".png", pixels, [number for pair in settings.items() for number in pair])
    return insert_chunks(encoded.data, _chunks(options))


def insert_chunks(png: bytes | memoryview, chunks: Iterable[Chunk]) -> bytes:
    """The PNG with these chunks (a name of four letters, and data) behind its header."""
    return b"".join((png[:_END_OF_HEADER], *(_chunk_bytes(name, data) for name, data in chunks), png[_END_OF_HEADER:]))


def _chunk_bytes(name: bytes, data: bytes) -> bytes:
    named = name + data
    return len(data).to_bytes(4) + named + zlib.crc32(named).to_bytes(4)


def _opencv_can_write(image: Image.Image, options: Mapping[str, Any]) -> bool:
    return (
        image.mode in OPENCV_ORDER
        and max(image.size) <= OPENCV_LONGEST_SIDE
        and options.keys() <= OPENCV_OPTIONS
        and image.info.keys().isdisjoint(KEPT_BY_PILLOW)
        and all(name in TEXT_CHUNKS for name, _ in _chunks(options))
    )


def _chunks(options: Mapping[str, Any]) -> list[Chunk]:
    """Of PngInfo, which has chosen between Latin-1 (tEXt) and UTF-8 (iTXt) already. Chunks that follow the pixels have a third part."""
    info = options.get("pnginfo")
    return [chunk[:2] for chunk in info.chunks] if info else []
