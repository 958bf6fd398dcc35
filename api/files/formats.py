"""The formats of pictures: what is read, what is written, and how. A new format is one row of the table, and nothing else.

No Django: specs read it.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from PIL import Image, features

from api.errors import DarkroomError
from api.files.encoders import Encoder, encode_png_with_opencv, encode_with_pillow
from api.json_types import Json


@dataclass(frozen=True)
class PictureFormat:
    """One row. Formats that Pillow was built without are left out of FORMATS."""

    name: str
    """In requests (`output_format`)."""
    label: str
    """In sentences."""
    codec: str
    """Pillow's name."""
    content_type: str
    suffixes: tuple[str, ...]
    """Of files, with the dot; those that are stored here have the first."""
    max_side: int
    """In pixels: what the format, or its encoder, can hold."""
    options: Mapping[str, Json]
    """The encoder's, for pictures that are made here."""
    parameters: Literal["text", "exif"]
    """Where a file carries the parameters that made it: in PNG's text chunks, or in EXIF."""
    encoder: Encoder = encode_with_pillow
    """What writes the file."""
    has_alpha: bool = True
    max_exif_bytes: int | None = None
    refuses_animation: bool = True
    """Whether a file may be an animation, which is not a picture for us."""
    needs: str = field(default="", compare=False)
    """Pillow's feature without which the format is not there."""

    @property
    def label_with_article(self) -> str:
        """At the beginning of a sentence."""
        return f"{'An' if self.label[0] in 'AEIOU' else 'A'} {self.label}"


_TABLE = (
    PictureFormat(
        name="png",
        label="PNG",
        codec="PNG",
        content_type="image/png",
        suffixes=(".png",),
        max_side=2**31 - 1,
        # RLE looks for runs alone: filtered pixels repeat little else, and the level makes no difference.
        options={"compress_level": 1, "compress_type": zlib.Z_RLE},
        parameters="text",
        encoder=encode_png_with_opencv,
    ),
    PictureFormat(
        name="jpeg",
        label="JPEG",
        codec="JPEG",
        content_type="image/jpeg",
        suffixes=(".jpg", ".jpeg"),
        max_side=65_500,  # libjpeg's; the format itself ends at 65,535
        options={"quality": 92},
        parameters="exif",
        has_alpha=False,
        max_exif_bytes=65_533,  # what one marker holds
        refuses_animation=False,  # an MPO is a phone's JPEG with a second picture behind the first, which is not read
    ),
    PictureFormat(
        name="webp",
        label="WebP",
        codec="WEBP",
        content_type="image/webp",
        suffixes=(".webp",),
        max_side=16_383,
        options={"quality": 92, "method": 2},  # method 4, libwebp's own, takes twice the time for up to a tenth of the size
        parameters="exif",
    ),
    PictureFormat(
        name="avif",
        label="AVIF",
        codec="AVIF",
        content_type="image/avif",
        suffixes=(".avif",),
        max_side=32_768,  # libavif reads no larger one back
        options={"quality": 90, "speed": 9},  # speed 6, libavif's own, takes eight times the time for a tenth of the size
        parameters="exif",
        needs="avif",
    ),
)
FORMATS = {row.name: row for row in _TABLE if not row.needs or features.check(row.needs)}
FORMAT_NAMES = tuple(FORMATS)
CODECS = tuple(row.codec for row in FORMATS.values())
FORMAT_OF_SUFFIX = {suffix: row.name for row in FORMATS.values() for suffix in row.suffixes}
ANIMATED_CODECS = frozenset(row.codec for row in FORMATS.values() if row.refuses_animation)
STORED_SUFFIXES = tuple(row.suffixes[0] for row in _TABLE)
"""Also of formats that are not there any more: their files may be."""
CONTENT_TYPES = tuple(row.content_type for row in FORMATS.values())
THUMBNAIL = FORMATS["webp"]
UPLOAD = replace(FORMATS["png"], options={"compress_level": 1}, encoder=encode_with_pillow)
"""Uploads are kept without loss and without metadata. Web processes write them, which are to stay small: OpenCV takes 30 MiB."""


def list_labels() -> str:
    """'PNG, JPEG, WebP or AVIF'."""
    return join_words(row.label for row in FORMATS.values())


def join_words(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


def encode(image: Image.Image, format: PictureFormat, **options: object) -> bytes:
    """The file's bytes; `options` go to the encoder, over those of the table. Raises DarkroomError for what the format can't hold."""
    if max(image.size) > format.max_side:
        raise DarkroomError(
            "too_large_for_format",
            400,
            f"{format.label_with_article} picture has at most {format.max_side} pixels on a side, and this one has "
            f"{image.width} × {image.height}.",
            field="output_format",
        )
    writable = image if format.has_alpha else image.convert("RGB")
    return format.encoder(writable, format.codec, {**format.options, **options})
