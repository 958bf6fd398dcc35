"""Preview pictures, which lie beside the files: decoded and made small, so that nothing but a picture is ever sent."""

import os
from pathlib import Path

from django.conf import settings

from api.files.decoding import decode_image
from api.files.errors import InvalidImage
from api.files.formats import THUMBNAIL, encode
from api.library.models import LibraryFile

SIDE = 512
LARGEST = 20 * 2**20
CONTENT_TYPE = THUMBNAIL.content_type


class NoPreview(Exception):
    """There is none, or none that can be shown."""


def version_of(row: LibraryFile) -> str:
    """Changes when the picture does. Raises NoPreview."""
    try:
        status = os.stat(picture_of(row))
    except OSError:
        raise NoPreview from None
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def make_thumbnail(row: LibraryFile) -> bytes:
    """Raises NoPreview."""
    try:
        with picture_of(row).open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise NoPreview
        image = decode_image(content)
    except (OSError, InvalidImage):
        raise NoPreview from None
    image.thumbnail((SIDE, SIDE))
    return encode(image, THUMBNAIL)


def picture_of(row: LibraryFile) -> Path:
    """By the setting of links, as weights are read. Raises NoPreview."""
    if not row.preview:
        raise NoPreview
    picture = row.beside(row.preview)
    if picture.is_symlink() and not settings.LIBRARY_FOLLOW_LINKS:
        raise NoPreview
    return picture
