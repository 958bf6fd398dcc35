"""How a stored file reaches a browser."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.http import Http404
from django.test import AsyncRequestFactory, RequestFactory

from api.files.models import StoredFile
from api.files.responses import CHUNK, file_response
from tests.files.conftest import store

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored() -> StoredFile:
    return store()


def get(stored: StoredFile, thumbnail: bool = False, method: str = "GET", **headers: str) -> Any:
    return file_response(RequestFactory(headers=headers).generic(method, "/"), stored, thumbnail)


def test_the_bytes_arrive_with_their_type_and_length(stored: StoredFile, media: Path) -> None:
    reply = get(stored)
    data = (media / stored.name).read_bytes()
    assert reply.getvalue() == data
    assert (reply["Content-Type"], reply["Content-Length"]) == ("image/png", str(len(data)))


def test_the_thumbnail_is_a_webp(stored: StoredFile, media: Path) -> None:
    reply = get(stored, thumbnail=True)
    assert reply["Content-Type"] == "image/webp"
    assert reply.getvalue() == (media / (stored.thumbnail_name or "")).read_bytes()
    assert reply["ETag"] != get(stored)["ETag"]


def test_a_file_without_a_thumbnail_gives_itself(stored: StoredFile) -> None:
    stored.thumbnail_name = None
    assert get(stored, thumbnail=True)["Content-Type"] == "image/png"


def test_a_browser_runs_nothing_and_keeps_it(stored: StoredFile) -> None:
    reply = get(stored)
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert reply["Cache-Control"] == "private, max-age=31536000, immutable"
    assert reply["ETag"] == f'"{stored.sha256}"'
    assert reply["Content-Disposition"] == f'inline; filename="{stored.pk}.png"'


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*"])
def test_who_has_it_already_gets_a_304(stored: StoredFile, form: str) -> None:
    reply = get(stored, **{"If-None-Match": form.format(f'"{stored.sha256}"')})
    assert (reply.status_code, reply.content) == (304, b"")


def test_who_has_another_gets_it(stored: StoredFile) -> None:
    assert get(stored, **{"If-None-Match": '"x"'}).status_code == 200


def test_a_head_request_gets_the_headers_alone(stored: StoredFile) -> None:
    reply = get(stored, method="HEAD")
    assert (reply.content, reply["Content-Length"]) == (b"", str(stored.size))


def test_a_proxy_is_told_where_the_file_is(stored: StoredFile, settings: Any) -> None:
    settings.MEDIA_ACCEL_PREFIX = "/protected/"
    reply = get(stored)
    assert (reply["X-Accel-Redirect"], reply.content) == (f"/protected/{stored.name}", b"")
    assert reply["Content-Type"] == "image/png"
    assert reply["Content-Security-Policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("thumbnail", [True, False])
def test_a_file_that_is_gone_is_a_404(stored: StoredFile, media: Path, thumbnail: bool) -> None:
    for name in (stored.name, stored.thumbnail_name or ""):
        (media / name).unlink()
    with pytest.raises(Http404):
        get(stored, thumbnail)


def test_under_asgi_it_arrives_in_chunks(stored: StoredFile, media: Path) -> None:
    data = bytes(range(256)) * (CHUNK // 256) * 2 + b"end"
    (media / stored.name).write_bytes(data)
    reply: Any = file_response(AsyncRequestFactory().get("/"), stored)

    async def read_all() -> list[bytes]:
        return [chunk async for chunk in reply.streaming_content]

    chunks = asyncio.run(read_all())
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 3]
    assert b"".join(chunks) == data


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, None), ("bytes=-4", -4, None), ("bytes=3-999999", 3, None), ("bytes = 2-3", 2, 4)],
)
def test_a_part_is_sent_to_who_asks_for_one(stored: StoredFile, media: Path, asked: str, begin: int, end: int | None) -> None:
    data = (media / stored.name).read_bytes()
    reply, part = get(stored, Range=asked), data[begin:end]
    start = begin % len(data)
    assert (reply.status_code, reply.getvalue(), reply["Content-Length"]) == (206, part, str(len(part)))
    assert reply["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(data)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=-", "bytes=9-3", "lines=1-2", "bytes=a-b", "bytes=-1-2"])
def test_what_is_no_single_part_is_answered_with_the_whole(stored: StoredFile, asked: str) -> None:
    assert get(stored, Range=asked).status_code == 200


def test_a_part_beyond_the_end_and_a_part_of_another_version(stored: StoredFile) -> None:
    reply = get(stored, Range="bytes=999999-")
    assert (reply.status_code, reply["Content-Range"]) == (416, f"bytes */{stored.size}")
    assert get(stored, Range="bytes=-0").status_code == 416
    assert get(stored, **{"Range": "bytes=0-1", "If-Range": '"another"'}).status_code == 200
    assert get(stored, **{"Range": "bytes=0-1", "If-Range": f'"{stored.sha256}"'}).status_code == 206
    assert get(stored, method="HEAD", Range="bytes=0-1").status_code == 200


def test_the_admin_shows_files_to_staff_alone(stored: StoredFile, client: Any, admin_client: Any) -> None:
    page = admin_client.get("/admin/files/storedfile/").content.decode()
    address = f"/admin/files/storedfile/{stored.pk}/thumbnail/"
    assert address in page
    assert admin_client.get(address)["Content-Type"] == "image/webp"
    assert client.__class__().get(address).status_code == 302
    assert str(stored.pk) in admin_client.get(f"/admin/files/storedfile/{stored.pk}/change/").content.decode()
