"""Sending a stored file: by its row, never by a path from the URL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from api.files import storage
from api.files.formats import THUMBNAIL
from api.files.models import StoredFile

CHUNK = 256 * 1024
HEADERS = {
    # A file never changes under its id. Private: it is for its owner, not for a shared cache.
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


def file_response(request: HttpRequest | Request, stored: StoredFile, thumbnail: bool = False) -> HttpResponseBase:
    """The picture or its thumbnail, for a view that has made sure of the requester's right to it. Touches no database.

    304 where the client has it; by the proxy in front (X-Accel-Redirect) where MEDIA_ACCEL_PREFIX is set, else in async chunks.
    Raises Http404 where the file is gone.
    """
    if isinstance(request, Request):
        request = request._request
    name = (thumbnail and stored.thumbnail_name) or stored.name
    try:
        size = storage.file_size(name)
    except FileNotFoundError:
        raise Http404 from None
    etag = f'"{stored.sha256}{"-t" if thumbnail else ""}"'
    response = build_response(request, name)
    headers = {"ETag": etag, "Content-Type": content_type(stored, name), "Content-Length": str(size)}
    headers["Content-Disposition"] = f'inline; filename="{PurePosixPath(name).name}"'
    for header, value in {**HEADERS, **headers}.items():
        response[header] = value
    return get_conditional_response(request, etag=etag, response=response) or response  # type: ignore[arg-type]


def content_type(stored: StoredFile, name: str) -> str:
    return THUMBNAIL.content_type if name == stored.thumbnail_name else stored.content_type


def build_response(request: HttpRequest, name: str) -> HttpResponseBase:
    if settings.MEDIA_ACCEL_PREFIX and storage.media_folder():
        return HttpResponse(headers={"X-Accel-Redirect": f"{settings.MEDIA_ACCEL_PREFIX.rstrip('/')}/{name}"})
    if request.method == "HEAD":
        return HttpResponse()
    return StreamingHttpResponse(read_async(name) if isinstance(request, ASGIRequest) else read(name))


async def read_async(name: str) -> AsyncIterator[bytes]:
    """Django's own FileResponse would read the whole file into memory under ASGI."""
    file = await asyncio.to_thread(storage.open_file, name)
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
    finally:
        file.close()


def read(name: str) -> Iterator[bytes]:
    with storage.open_file(name) as file:
        while chunk := file.read(CHUNK):
            yield chunk
