"""Pictures on their way to an assistant and back."""

import base64
import io
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import Resolver404, resolve
from mcp_types import ImageContent
from PIL import Image

from api.errors import DarkroomError
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image, read_file

SHOWN_BYTES = 600 * 1024
"""Of all pictures of one answer. Some clients refuse results of more than 1 MB, which are these in base64 with the text around them."""
SHOWN_TYPES = ("image/png", "image/jpeg", "image/webp")
"""What clients pass on to a model."""
PREVIEWS = ((1024, 88), (768, 82), (512, 78), (320, 70), (192, 60), (96, 40))
"""Longest side in pixels and quality of a JPEG, tried in this order."""
ADDRESSES = ("image-file", "image-thumbnail", "image-detail")


def own_picture(value: object, request: HttpRequest) -> object:
    """The id of a picture for its address on this server, and anything else as it is."""
    if not isinstance(value, str) or "://" not in value[:10]:
        return value
    try:
        parts = urlsplit(value.strip())
        is_here = parts.scheme in ("http", "https") and parts.netloc.lower() == request.get_host().lower()
        match = resolve(parts.path) if is_here else None
    except (ValueError, Resolver404):
        return value
    if match is None:
        return value
    return str(match.kwargs.get("id", value)) if match.url_name in ADDRESSES else value


def show_pictures(identifiers: Iterable[str]) -> list[ImageContent]:
    """Those that are still here, in order."""
    names = list(identifiers)
    files = StoredFile.objects.in_bulk([uuid.UUID(name) for name in names])
    found = [files[uuid.UUID(name)] for name in names if uuid.UUID(name) in files]
    shown = (show(file, SHOWN_BYTES // len(found)) for file in found)
    return [content for content in shown if content is not None]


def show(file: StoredFile, most_bytes: int) -> ImageContent | None:
    """The file itself where it is small enough, else a preview; None where it is gone."""
    try:
        if file.size <= most_bytes and file.content_type in SHOWN_TYPES:
            return as_content(read_file(file), file.content_type)
        return as_content(make_preview(open_image(file), most_bytes), "image/jpeg")
    except MissingFile:
        return None


def as_content(data: bytes, content_type: str) -> ImageContent:
    return ImageContent(data=base64.b64encode(data).decode(), mime_type=content_type)


def make_preview(image: Image.Image, most_bytes: int) -> bytes:
    for side, quality in PREVIEWS:
        small = image.copy()
        small.thumbnail((side, side), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= most_bytes:
            break
    return buffer.getvalue()


def missing_picture() -> DarkroomError:
    return DarkroomError("not_found", 404, "There is no picture with this id.")
