"""The ways in which a client may hand over an image: base64, data URL, file, the id of one here, or (where allowed) a web address.

Every field that takes an image reads it here, so that all of them understand the same.
"""

import base64
import binascii
import re
import uuid
from urllib.parse import unquote

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from api.files.errors import InvalidImage
from api.files.fetching import fetch_url

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://", re.IGNORECASE)
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]*+|[A-Za-z0-9_-]*+)(={0,2})")
"""The standard alphabet or the one for URLs (RFC 4648, sections 4 and 5), never both in one text."""
MEDIA_TYPE = re.compile(r"|image/(?!svg).+|application/octet-stream")
"""What an image may be called in a data URL; which image it is, its bytes say."""
HERE = "darkroom://images/"


def parse_id(value: object) -> uuid.UUID | None:
    """The id of a file here, in the usual form with hyphens or behind `darkroom://images/`; None for anything else."""
    if not isinstance(value, str):
        return None
    text = value.strip().removeprefix(HERE).removesuffix("/")
    return uuid.UUID(text) if UUID.fullmatch(text) else None


def decode_input(value: str | UploadedFile) -> bytes:
    """The bytes of what a client sent; whether they are an image is not looked at. Raises InvalidImage."""
    if isinstance(value, UploadedFile):
        return read_upload(value)
    if not isinstance(value, str):
        raise InvalidImage("Send base64, a data URL, a file, or the id of an image here.", "invalid")
    value = value.strip()
    if value[:5].lower() == "data:":
        return decode_data_url(value)
    if URL.match(value) and not value.startswith(HERE):
        return fetch_allowed_url(value)
    return decode_base64(value)


def read_upload(upload: UploadedFile) -> bytes:
    if (upload.size or 0) > settings.MAX_BODY_BYTES:
        raise InvalidImage(f"The file is larger than {settings.MAX_BODY_BYTES} bytes.", "too_large")
    upload.seek(0)  # it may be read for another purpose, too
    return upload.read()


def decode_data_url(value: str) -> bytes:
    """RFC 2397, percent-encoded or not."""
    head, comma, body = value[5:].partition(",")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    if not comma or "base64" not in parameters:
        raise InvalidImage("A data URL has the form data:image/png;base64,….", "not_base64")
    if not MEDIA_TYPE.fullmatch(media_type):
        raise InvalidImage(
            "A data URL of an image begins with data:image/png;base64, (or another format that is read here).", "wrong_type"
        )
    return decode_base64(unquote(body))


def decode_base64(value: str) -> bytes:
    """With or without padding, in lines or not, in either alphabet. Raises InvalidImage for what has more than one reading."""
    text = "".join(value.split())
    match = BASE64.fullmatch(text)
    padding = match[1] if match else ""
    if match is None or (padding and len(text) % 4):
        raise not_base64()
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:  # one character is left over
        raise not_base64() from None


def not_base64() -> InvalidImage:
    return InvalidImage("This is not base64, a data URL, or the id of an image here.", "not_base64")


def fetch_allowed_url(url: str) -> bytes:
    if not settings.ALLOW_IMAGE_URLS:
        raise InvalidImage(
            "Image URLs are not allowed on this server (ALLOW_IMAGE_URLS). Send the image itself, as base64 or a data URL.",
            "url_not_allowed",
        )
    return fetch_url(url, max_bytes=settings.MAX_BODY_BYTES)
