"""GET /api/models/ with a library: what is listed, to whom, and how much of it."""

import gc
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from PIL import Image

from api.access.services import create_key
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.library.files import EMBEDDING, PICKLE, write_bytes, write_checkpoint, write_file, write_lora, write_xl
from tests.system.conftest import bearer


@pytest.fixture
def filled(library: Path) -> Path:
    write_checkpoint(library / "photo.safetensors")
    picture = io.BytesIO()
    Image.new("RGB", (1024, 2048), "red").save(picture, "PNG")
    write_bytes(library / "photo.preview.png", picture.getvalue())
    write_xl(library / "wide_turbo.safetensors")
    write_lora(library / "ink.safetensors", modelspec__trigger_phrase="ink wash")
    write_file(library / "easy.safetensors", EMBEDDING)
    write_bytes(library / "old.ckpt", PICKLE)
    scan_library()
    return library


def listed(client: Client, query: str = "", **extra: Any) -> dict[str, dict[str, Any]]:
    return {model["id"]: model for model in client.get(f"/api/models/{query}", **extra).json()}


def test_files_are_listed_after_the_catalog(filled: Path, client: Client) -> None:
    reply = client.get("/api/models/")
    ids = [model["id"] for model in reply.json()]
    assert ids[0] == "starter"
    assert ids[-2:] == ["photo", "wide_turbo"]
    assert reply["X-Total-Count"] == str(len(ids))
    photo = listed(client)["photo"]
    assert (photo["family"], photo["usable"], photo["available"], photo["reason"]) == ("sd1", True, True, "")
    assert photo["size"] == (filled / "photo.safetensors").stat().st_size
    assert "ink" in photo["adapters"]
    assert "ink" in listed(client)["starter"]["adapters"]
    assert "ink" not in listed(client)["wide_turbo"]["adapters"]


def test_a_file_of_few_steps_has_their_defaults(filled: Path, client: Client) -> None:
    turbo = listed(client)["wide_turbo"]
    assert (turbo["few_step"], turbo["default_steps"], turbo["default_guidance_scale"]) == ("turbo", 4, 0.0)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("?kind=lora&q=ink", {"ink"}),
        ("?kind=lora&family=sd1&limit=1", {"riso"}),
        ("?kind=embedding", {"easy"}),
        ("?kind=unknown", {"old"}),
        ("?kind=checkpoint&q=PHOTO", {"photo"}),
        ("?q=wide_t", {"wide_turbo"}),
        ("?family=nothing", set()),
    ],
)
def test_the_list_is_filtered(filled: Path, client: Client, query: str, ids: set[str]) -> None:
    assert set(listed(client, query)) == ids


@pytest.mark.parametrize("query", ["?kind=x", "?limit=0", "?limit=10001", "?limit=x", "?what=1", "?kind=lora&kind=vae"])
def test_a_wrong_filter_is_a_400(filled: Path, client: Client, query: str) -> None:
    assert client.get(f"/api/models/{query}").status_code == 400


def test_a_file_that_cant_be_used_says_why(filled: Path, client: Client) -> None:
    old = listed(client, "?kind=unknown")["old"]
    assert (old["usable"], old["available"]) == (False, False)
    assert "convert_weights" in old["reason"]


def test_paths_are_for_staff_alone(filled: Path, client: Client) -> None:
    _, plain = create_key(name="an application")
    _, staff = create_key(name="the owner", scopes=["staff", "read"])
    assert listed(client, headers=bearer(plain))["photo"]["path"] is None
    assert str(filled) not in client.get("/api/models/", headers=bearer(plain)).content.decode()
    assert listed(client, headers=bearer(staff))["photo"]["path"] == str(filled / "photo.safetensors")


def test_hashes_are_listed_once_they_are_known(filled: Path, client: Client) -> None:
    assert listed(client)["photo"]["hashes"] is None
    hash_rows(LibraryFile.objects.unhashed())
    hashes = listed(client)["photo"]["hashes"]
    assert (len(hashes["sha256"]), len(hashes["autov2"]), len(hashes["autov3"]), len(hashes["short"])) == (64, 10, 12, 8)


def test_the_number_of_queries_does_not_grow_with_the_files(library: Path, client: Client) -> None:
    counts = []
    for start in (0, 20):
        for number in range(start, start + 20):
            write_checkpoint(library / f"{number}.safetensors")
            write_lora(library / f"lora-{number}.safetensors")
        scan_library()
        with CaptureQueriesContext(connection) as captured:
            assert len(listed(client, "?limit=10000")) > start + 20
        counts.append(len(captured))
    assert counts[0] == counts[1]


def add_rows(count: int) -> None:
    rows = [
        LibraryFile(
            entry_id=f"many-{number:05}", path=f"/models/{number}.safetensors", path_key=str(number), root="/models", file_name="x",
            stem="x", size=1, mtime_ns=1, stamp="x", name=f"Many {number:05}", kind="checkpoint", family="sdxl",
        )
        for number in range(count)
    ]  # fmt: skip
    LibraryFile.objects.bulk_create(rows, batch_size=500)


def test_a_long_list_is_sent_in_parts(filled: Path, client: Client) -> None:
    add_rows(1500)
    short = client.get("/api/models/?limit=1000")
    long = client.get("/api/models/?limit=10000")
    assert (short.streaming, long.streaming) == (False, True)
    parts = list(long.streaming_content)
    models = json.loads(b"".join(parts))
    assert len(parts) > 5
    assert models[:1000] == short.json()
    assert str(len(models)) == long["X-Total-Count"] == short["X-Total-Count"]
    assert [model["id"] for model in models if model["id"].startswith("many-")] == [
        f"many-{number:05}" for number in range(1500)
    ]


@pytest.mark.django_db(transaction=True)
async def test_a_long_list_is_streamed_by_the_server_too(library: Path, async_client: AsyncClient) -> None:
    await sync_to_async(add_rows)(1200)
    reply = await async_client.get("/api/models/?limit=10000")
    assert reply.is_async
    models = json.loads(b"".join([part async for part in reply.streaming_content]))
    assert (reply["Content-Type"], str(len(models))) == ("application/json", reply["X-Total-Count"])


def test_ten_thousand_models_take_little_memory(library: Path, client: Client) -> None:
    add_rows(10_000)
    list(client.get("/api/models/?limit=10000").streaming_content)  # what is loaded once
    assert any(peak_of_a_list(client) < 8 * 2**20 for _ in range(3))  # threads of other tests allocate, too


def peak_of_a_list(client: Client) -> int:
    gc.collect()
    tracemalloc.start()
    size = sum(len(part) for part in client.get("/api/models/?limit=10000").streaming_content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 4_000_000
    return peak


# ---------------------------------------------------------------- preview pictures


def test_a_preview_is_a_small_picture_that_is_sent_once(filled: Path, client: Client) -> None:
    address = listed(client)["photo"]["preview_url"]
    assert address == "/api/models/photo/preview/"
    reply = client.get(address)
    assert (reply.status_code, reply["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(reply.content)).size == (256, 512)
    assert client.get(address, headers={"If-None-Match": reply["ETag"]}).status_code == 304
    assert listed(client)["wide_turbo"]["preview_url"] is None
    assert client.get("/api/models/wide_turbo/preview/").status_code == 404
    assert client.get("/api/models/nothing/preview/").status_code == 404


def test_what_is_no_picture_is_not_sent(filled: Path, client: Client, tmp_path: Path) -> None:
    secret = write_bytes(tmp_path / "secret", b"root:x:0:0")
    write_bytes(filled / "ink.png", b"root:x:0:0")
    (filled / "easy.png").symlink_to(secret)
    scan_library()
    assert client.get("/api/models/ink/preview/").status_code == 404
    assert client.get("/api/models/easy/preview/").status_code == 404


# ---------------------------------------------------------------- the admin


def test_the_admin_lists_files_with_picture_filters_and_reasons(filled: Path, admin_client: Client) -> None:
    address = "/admin/library/libraryfile/"
    page = admin_client.get(address).content.decode()
    photo = LibraryFile.objects.get(entry_id="photo")
    assert f'src="{address}{photo.pk}/preview/"' in page
    assert "It is a pickle, which can run code" in page
    assert admin_client.get(f"{address}{photo.pk}/preview/")["Content-Type"] == "image/webp"
    assert "sdxl" in admin_client.get(f"{address}?family=sdxl").content.decode()
    for query, found in (("?usable=no", 1), ("?usable=yes", 4), ("?usable=pickle", 1), ("?usable=missing", 0), ("?q=ink", 1)):
        assert admin_client.get(address + query).context["cl"].result_count == found, query
    detail = admin_client.get(f"{address}{photo.pk}/change/").content.decode()
    assert str(filled / "photo.safetensors") in detail
    assert "not computed yet" in detail


def test_a_preview_in_the_admin_is_for_those_who_may_see_the_file(filled: Path, client: Client) -> None:
    photo = LibraryFile.objects.get(entry_id="photo")
    assert client.get(f"/admin/library/libraryfile/{photo.pk}/preview/").status_code == 302
