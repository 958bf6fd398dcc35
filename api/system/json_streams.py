"""Long JSON lists, sent while they are made."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer


def stream_json_list(request: HttpRequest, batches: Iterator[list[Any]], headers: Mapping[str, str]) -> StreamingHttpResponse:
    """One list of the batches' items. Each batch is asked for in one of the threads of Django's sync code."""
    parts = encode_list(batches)
    content = read_async(parts) if isinstance(request, ASGIRequest) else parts
    return StreamingHttpResponse(content, content_type="application/json", headers=headers)


def encode_list(batches: Iterator[list[Any]]) -> Iterator[bytes]:
    yield b"["
    separator = b""
    for batch in batches:
        if batch:
            yield separator + JSONRenderer().render(batch)[1:-1]
            separator = b","
    yield b"]"


async def read_async(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while part := await sync_to_async(next)(parts, b""):
        yield part
