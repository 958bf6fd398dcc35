"""Sending a stored file: by its row, never by a path from the URL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import PurePosixPath

from django.conf import settings
from django.core.files import File
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from api.files import storage
from api.files.formats import THUMBNAIL
from api.files.models import StoredFile
from api.files.ranges import NotSatisfiable, read_range

CHUNK = 256 * 1024
HEADERS = {
    # A file never changes under its id. Private: it is for its owner, not for a shared cache.
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Accept-Ranges": "bytes",
}


def file_response(request: HttpRequest | Request, stored: StoredFile, thumbnail: bool = False) -> HttpResponseBase:
    """The picture or its thumbnail, for a view that has made sure of the requester's right to it. Touches no database.

    304 where the client has it; by the proxy in front (X-Accel-Redirect) where MEDIA_ACCEL_PREFIX is set, by the storage itself where
    MEDIA_DELIVERY says so, else in async chunks. Raises Http404 where the file is gone.
    """
    if isinstance(request, Request):
        request = request._request
    name = (thumbnail and stored.thumbnail_name) or stored.name
    head = HttpResponse(headers={**HEADERS, **headers_of(stored, name, thumbnail)})
    known = get_conditional_response(request, etag=head["ETag"], response=head)  # type: ignore[arg-type]
    if known is not head:
        return known  # type: ignore[return-value]
    try:
        return send(request, stored, name, head)
    except FileNotFoundError:
        raise Http404 from None


def headers_of(stored: StoredFile, name: str, thumbnail: bool) -> dict[str, str]:
    return {
        "ETag": f'"{stored.sha256}{"-t" if thumbnail else ""}"',
        "Content-Type": THUMBNAIL.content_type if name == stored.thumbnail_name else stored.content_type,
        "Content-Disposition": f'inline; filename="{PurePosixPath(name).name}"',
    }


def send(request: HttpRequest, stored: StoredFile, name: str, head: HttpResponse) -> HttpResponseBase:
    """Raises FileNotFoundError."""
    if settings.MEDIA_ACCEL_PREFIX and storage.is_on_this_disk(name):
        head["Content-Length"] = str(storage.file_size(name))
        head["X-Accel-Redirect"] = f"{settings.MEDIA_ACCEL_PREFIX.rstrip('/')}/{name}"
        return head
    is_small = name == stored.thumbnail_name
    if not is_small and request.method == "GET" and may_be_redirected(request):
        url = storage.signed_url(name, head["Content-Type"], head["Content-Disposition"])
        if url:
            return HttpResponseRedirect(url, headers={"Cache-Control": "no-store"})
    if request.method == "HEAD":
        head["Content-Length"] = str(storage.file_size(name))
        return head
    return stream(request, open_cached(name) if is_small else storage.open_file(name), head)


def may_be_redirected(request: HttpRequest) -> bool:
    """Not for the pages of this server: their content policy, and the canvases that they draw on, want everything from here.

    Browsers say that they ask for such a page over HTTPS and at localhost; elsewhere the person who sees it is logged in.
    """
    is_page = request.headers.get("Sec-Fetch-Site") == "same-origin" or settings.SESSION_COOKIE_NAME in request.COOKIES
    return settings.MEDIA_DELIVERY == "signed" and not is_page


def open_cached(name: str) -> File:
    """A thumbnail; from memory where it would come over the network, since a page shows dozens."""
    if storage.media_folder() is not None:
        return storage.open_file(name)
    return File(BytesIO(storage.read_thumbnail(name)), name)


def stream(request: HttpRequest, file: File, head: HttpResponse) -> HttpResponseBase:
    """The file, or the part of it that was asked for (RFC 9110, section 14)."""
    try:
        part = read_range(request, file.size, head["ETag"])
    except NotSatisfiable:
        file.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{file.size}", "Accept-Ranges": "bytes"})
    begin, end = part or (0, file.size)
    chunks = read_async(file, begin, end) if isinstance(request, ASGIRequest) else read(file, begin, end)
    response = StreamingHttpResponse(chunks, status=206 if part else 200, headers=dict(head.items()))
    response["Content-Length"] = str(end - begin)
    if part:
        response["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
    response._resource_closers.append(file.close)  # type: ignore[attr-defined]  # as FileResponse does: also where nobody reads
    return response


async def read_async(file: File, begin: int, end: int) -> AsyncIterator[bytes]:
    """Django's own FileResponse would read the whole file into memory under ASGI."""
    chunks = read(file, begin, end)
    try:
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk
    finally:
        file.close()


def read(file: File, begin: int, end: int) -> Iterator[bytes]:
    file.seek(begin)
    while begin < end and (chunk := file.read(min(CHUNK, end - begin))):
        begin += len(chunk)
        yield chunk
