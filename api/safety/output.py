"""The one way by which pictures that are made here are kept: every capability's files are written by `write_picture`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings

from api.files import storage
from api.files.formats import FORMATS
from api.safety.credentials.provenance import Provenance

if TYPE_CHECKING:
    from PIL import Image


def write_picture(data: bytes, picture: Image.Image, format: str, provenance: Provenance | None) -> storage.WrittenFile:
    """As `storage.write_image_files`; with a provenance (see `provenance_of`) the file is signed. For any thread.

    Raises DiskFull, and DarkroomError where it can't be signed.
    """
    if provenance is None:
        return storage.write_image_files(data, picture, format)
    from api.safety.credentials.signing import load_credentials, sign

    credentials = load_credentials(settings.C2PA_CERTIFICATE, settings.C2PA_PRIVATE_KEY)
    provenance, contents = read_ingredients(provenance)
    signed = sign(data, FORMATS[format].content_type, provenance, credentials, contents)
    return replace(storage.write_image_files(signed, picture, format), credentials=credentials.describe(provenance))


def read_ingredients(provenance: Provenance) -> tuple[Provenance, list[bytes]]:
    """Without those that have been deleted meanwhile; and the files of the others."""
    found = [(one, content) for one in provenance.ingredients if (content := read_if_there(one.name)) is not None]
    return replace(provenance, ingredients=tuple(one for one, _ in found)), [content for _, content in found]


def read_if_there(name: str) -> bytes | None:
    try:
        return storage.read_bytes(name)
    except FileNotFoundError:
        return None
