"""The texts in a picture's file. No pixel is decoded, and whatever is compressed is unpacked up to a limit."""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from api.files.decoding import DAMAGED
from api.files.formats import CODECS
from api.images.metadata import EXIF_FOLDER, MAKER_MARK, MAKER_NOTE, UNICODE_MARK, USER_COMMENT

LONGEST_TEXT, LONGEST_TEXTS = 4 << 20, 16 << 20
"""Bytes of one text, and of all that a file has."""
MOST_CHUNKS = 20_000
PNG = b"\x89PNG\r\n\x1a\n"
DESCRIPTION, MAKE, MODEL, SOFTWARE = 0x010E, 0x010F, 0x0110, 0x0131
NAMED_TAGS = (MAKE, MODEL, DESCRIPTION)
"""Where ComfyUI writes `prompt:{…}` and `workflow:{…}`."""


def read_texts(data: bytes) -> dict[str, str]:
    """By keyword; of several texts with one keyword the first. Those of EXIF are under the names that they have in a PNG."""
    texts: dict[str, str] = {}
    room = LONGEST_TEXTS
    for keyword, text in _png_texts(data) if data.startswith(PNG) else _other_texts(data):
        room -= len(text)
        if room < 0:
            break
        texts.setdefault(keyword, text)
    return texts


def _png_texts(data: bytes) -> Iterator[tuple[str, str]]:
    for kind, body in _png_chunks(data):
        if kind == b"eXIf":
            yield from _exif_texts(body)
            continue
        keyword, _, rest = body.partition(b"\0")
        text = _unpack(kind, rest)
        if text is not None:
            yield keyword[:80].decode("latin-1"), text


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Those with texts."""
    place = len(PNG)
    for _ in range(MOST_CHUNKS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def _unpack(kind: bytes, rest: bytes) -> str | None:
    """What stands behind the keyword; None where it is damaged or too long."""
    if kind == b"tEXt":
        return _decode_latin(rest) if len(rest) <= LONGEST_TEXT else None
    if kind == b"zTXt":
        unpacked = _inflate(rest[1:])
        return None if unpacked is None else _decode_latin(unpacked)
    flags, rest = rest[:2], rest[2:]
    _, _, rest = rest.partition(b"\0")  # language
    _, _, rest = rest.partition(b"\0")  # the keyword in that language
    body = _inflate(rest) if flags[:1] == b"\1" else rest
    return None if body is None or len(body) > LONGEST_TEXT else body.decode("utf-8", "replace")


def _decode_latin(text: bytes) -> str:
    """Latin-1 by the standard; many programs write UTF-8 all the same."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _inflate(packed: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        unpacked = inflater.decompress(packed, LONGEST_TEXT + 1)
    except zlib.error:
        return None
    return unpacked if len(unpacked) <= LONGEST_TEXT else None


def _other_texts(data: bytes) -> Iterator[tuple[str, str]]:
    try:
        with Image.open(io.BytesIO(data), formats=CODECS) as image:
            exif = image.getexif()
            comment = image.info.get("comment")
            yield from _tag_texts(exif)
    except (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return
    if isinstance(comment, bytes) and len(comment) <= LONGEST_TEXT:
        yield "Comment", _decode_latin(comment)


def _exif_texts(body: bytes) -> Iterator[tuple[str, str]]:
    exif = Image.Exif()
    try:
        exif.load(body)
        yield from _tag_texts(exif)
    except DAMAGED:
        return


def _tag_texts(exif: Image.Exif) -> Iterator[tuple[str, str]]:
    folder = exif.get_ifd(EXIF_FOLDER)
    note, comment = folder.get(MAKER_NOTE), folder.get(USER_COMMENT)
    if isinstance(note, bytes) and note.startswith(MAKER_MARK):
        yield "darkroom", note.removeprefix(MAKER_MARK).decode("utf-8", "replace")
    if comment:
        yield "parameters", _decode_comment(comment)
    for tag in NAMED_TAGS:
        value = exif.get(tag)
        if isinstance(value, str) and len(value) <= LONGEST_TEXT:
            keyword, colon, text = value.partition(":")
            named = colon and keyword.lower() in ("prompt", "workflow")
            yield (keyword.lower(), text) if named else ("Description", value)
    software = exif.get(SOFTWARE)
    if isinstance(software, str):
        yield "Software", software[:100]


def _decode_comment(comment: object) -> str:
    if isinstance(comment, str):
        return comment[:LONGEST_TEXT]
    if not isinstance(comment, bytes):
        return ""
    code, text = comment[:8], comment[8 : LONGEST_TEXT + 8]
    if code == UNICODE_MARK:  # the byte order is the writer's; in a text of this field most characters are ASCII
        little = text[1::2].count(0) > text[::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace")
    return (text if code in (b"ASCII\0\0\0", bytes(8)) else comment[:LONGEST_TEXT]).decode("utf-8", "replace")
