"""The ways in which a client may hand over an image: base64, data URL, multipart file, or (where allowed) a web address."""

import base64
import binascii
import re
import uuid

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from api.files.errors import InvalidImage
from api.files.fetching import fetch_url

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://", re.IGNORECASE)
SPACE = re.compile(r"\s+")


def parse_id(value: object) -> uuid.UUID | None:
    """The id of a file here, in the usual form with hyphens; None for anything else."""
    return uuid.UUID(value) if isinstance(value, str) and UUID.fullmatch(value) else None


def decode_input(value: str | UploadedFile) -> bytes:
    """The bytes of what a client sent; whether they are an image is not looked at. Raises InvalidImage."""
    if isinstance(value, UploadedFile):
        return read_upload(value)
    if not isinstance(value, str):
        raise InvalidImage("Send base64, a data URL, a file, or the id of an image here.", "invalid")
    if value[:5].lower() == "data:":
        return decode_data_url(value)
    if URL.match(value):
        return fetch_allowed_url(value)
    return decode_base64(value)


def read_upload(upload: UploadedFile) -> bytes:
    if (upload.size or 0) > settings.MAX_BODY_BYTES:
        raise InvalidImage(f"The file is larger than {settings.MAX_BODY_BYTES} bytes.", "too_large")
    return upload.read()


def decode_data_url(value: str) -> bytes:
    """RFC 2397. The media type is not believed: the bytes say what they are."""
    head, comma, body = value.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise InvalidImage("A data URL has the form data:image/png;base64,….", "not_base64")
    return decode_base64(body)


def decode_base64(value: str) -> bytes:
    try:
        return base64.b64decode(SPACE.sub("", value).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidImage("This is not base64, a data URL, or the id of an image here.", "not_base64") from None


def fetch_allowed_url(url: str) -> bytes:
    if not settings.ALLOW_IMAGE_URLS:
        raise InvalidImage(
            "Image URLs are not allowed on this server (ALLOW_IMAGE_URLS). Send the image itself.", "url_not_allowed"
        )
    return fetch_url(url, max_bytes=settings.MAX_BODY_BYTES)
