"""Pictures in a bucket, against a real server of S3's protocol that answers late, wrongly, in part or not at all."""

import asyncio
import base64
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.request import urlopen

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.utils import timezone

from api.files import storage
from api.files.models import StoredFile
from api.files.responses import CHUNK, file_response
from api.files.services import read_file
from api.files.sweep import SweepReport, sweep_orphans
from api.jobs.models import Job
from api.jobs.retry_policy import StorageOutage
from api.jobs.worker import endings
from api.jobs.worker.loop import WorkerLoop
from config.media import S3
from tests.files.conftest import encode, picture, store
from tests.files.s3_server import Proxy, names_in, options_of, s3_server
from tests.rows import make_picture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Proxy]:
    with s3_server() as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def bucket(server: Proxy, settings: Any, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """The proxy, well again; each test has a folder of its own in the bucket."""
    server.fail("", 0)
    server.seen.clear()
    server.folder = request.node.name.replace("[", "-").rstrip("]")
    use(server, settings)
    storage.read_thumbnail.cache_clear()
    yield server
    server.fail("", 0)


def use(server: Proxy, settings: Any, **options: Any) -> None:
    table = {"BACKEND": S3, "OPTIONS": options_of(server, **{"location": server.folder, "page_size": 2, **options})}
    settings.STORAGES = {**settings.STORAGES, "default": table}


def names(server: Proxy) -> list[str]:
    return [name.removeprefix(f"{server.folder}/") for name in names_in(server) if name.startswith(f"{server.folder}/")]


def image_64() -> str:
    return base64.b64encode(encode(picture((64, 64)))).decode()


# ---------------------------------------------------------------- as it should be


def test_a_picture_goes_in_comes_out_in_parts_and_is_gone(bucket: Proxy, client: Client) -> None:
    sent = client.post("/api/images/", {"image": image_64()}, content_type="application/json").json()
    [file] = StoredFile.objects.all()
    assert names(bucket) == sorted([file.name, file.thumbnail_name or ""])
    data, address = read_file(file), f"/api/images/{sent['id']}/file/"
    whole: Any = client.get(address)
    assert (whole.getvalue(), whole["Content-Type"], whole["Accept-Ranges"]) == (data, "image/png", "bytes")
    part: Any = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.getvalue(), part["Content-Range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    asked = len(bucket.seen)
    assert client.get(address, headers={"If-None-Match": whole["ETag"]}).status_code == 304
    assert len(bucket.seen) == asked
    assert client.head(address)["Content-Length"] == str(len(data))
    for _ in range(3):
        assert client.get(f"/api/images/{sent['id']}/thumbnail/").getvalue()  # type: ignore[attr-defined]
    assert sum(path.endswith("_t.webp") and method == "GET" for method, path, _ in bucket.seen) == 1
    assert client.delete(f"/api/images/{sent['id']}/").status_code == 204
    sweep_orphans(uploads_older_than=timedelta(seconds=-1))
    assert names(bucket) == []


def test_a_large_file_is_streamed(bucket: Proxy, settings: Any) -> None:
    """The server has sent little more than what was read of it."""
    file, data = store(), os.urandom(24 * 2**20)
    use(bucket, settings, read_timeout=20)
    default_storage.save(file.name, ContentFile(data))
    bucket.sent = 0
    reply: Any = file_response(AsyncRequestFactory().get("/"), file)

    async def read_two() -> list[bytes]:
        chunks = reply.streaming_content
        return [await anext(chunks), await anext(chunks)]

    assert b"".join(asyncio.run(read_two())) == data[: 2 * CHUNK]
    assert bucket.sent < 12 * 2**20
    reply.close()


def test_signed_addresses_are_for_those_that_are_no_page_of_ours(bucket: Proxy, client: Client, settings: Any) -> None:
    settings.MEDIA_DELIVERY = "signed"
    made = make_picture()
    address = f"/api/images/{made.pk}/file/"
    reply = client.get(address)
    assert (reply.status_code, reply["Cache-Control"]) == (302, "no-store")
    with urlopen(reply["Location"]) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (read_file(made.file), "image/png")
    assert client.get(address, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.get(address, headers={"Cookie": "sessionid=x"}).status_code == 200
    assert client.head(address).status_code == 200  # the address is signed for a GET
    assert client.get(f"/api/images/{made.pk}/thumbnail/").status_code == 200
    assert (
        client.get(f"/api/images/{StoredFile(pk=None).pk or '0197c0de-0000-7000-8000-000000000000'}/file/").status_code == 404
    )


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("slow", "no_storage"),
        ("503", "no_storage"),
        ("lost", "no_storage"),
        ("denied", "storage_refused"),
        ("full", "disk_full"),
    ],
)
def test_who_asks_while_it_is_away_gets_a_503_with_a_sentence(bucket: Proxy, client: Client, fault: str, code: str) -> None:
    made = make_picture()
    bucket.fail(fault)
    for reply in (
        client.get(f"/api/images/{made.pk}/file/"),
        client.post("/api/images/", {"image": image_64()}, content_type="application/json"),
    ):
        assert (reply.status_code, reply.json()["code"]) == (507 if fault == "full" else 503, code)
        assert reply.json()["detail"].endswith(".")
    bucket.fail("", 0)
    assert client.get(f"/api/images/{made.pk}/file/").status_code == 200


def test_after_one_that_waited_in_vain_others_are_told_at_once(bucket: Proxy, settings: Any) -> None:
    file = store()
    use(bucket, settings, rest_seconds=0.3)
    bucket.fail("lost")
    with pytest.raises(OSError, match="does not answer"):
        storage.open_file(file.name)
    asked = len(bucket.seen)
    with pytest.raises(OSError, match="did not answer a moment ago"):
        storage.open_file(file.name)
    assert len(bucket.seen) == asked
    bucket.fail("", 0)
    time.sleep(0.4)
    storage.open_file(file.name).close()
    storage.open_file(file.name).close()


def test_a_bucket_that_is_missing_is_no_missing_picture(bucket: Proxy, client: Client, settings: Any) -> None:
    made = make_picture()
    use(bucket, settings, bucket_name="nowhere")
    for method in (client.get, client.head):
        assert method(f"/api/images/{made.pk}/file/").status_code == 503
    assert client.get(f"/api/images/{made.pk}/file/").json()["code"] == "storage_refused"


def test_a_download_goes_on_where_it_broke_off(bucket: Proxy) -> None:
    file, data = store(), os.urandom(3 * CHUNK)
    default_storage.save(file.name, ContentFile(data))
    bucket.seen.clear()
    bucket.fail("cut", 2, "GET")
    reply: Any = file_response(RequestFactory().get("/"), file)
    assert reply.getvalue() == data
    assert [bool(part) for method, _, part in bucket.seen if method == "GET"] == [False, True, True]


def test_what_was_stored_without_an_answer_is_there_once_or_swept(bucket: Proxy, client: Client) -> None:
    bucket.fail("lost", 1, "PUT")
    post = lambda: client.post("/api/images/", {"image": image_64()}, content_type="application/json")  # noqa: E731
    assert post().status_code == 201
    kept = names(bucket)
    assert len(kept) == 2
    StoredFile.objects.update(sha256="0" * 64)  # else the same pixels are not stored again
    bucket.fail("lost")
    assert post().status_code == 503
    bucket.fail("", 0)
    assert (StoredFile.objects.count(), len(names(bucket))) == (1, 3)
    assert sweep_orphans() == SweepReport()
    assert sweep_orphans(timedelta(seconds=-5), days=2) == SweepReport(files=1)
    assert names(bucket) == kept


def test_the_sweep_goes_through_every_page(bucket: Proxy) -> None:
    store()
    for day in range(1, 6):
        storage.write_file(f"output/2026/01/0{day}", b"x", ".png")
        default_storage.save(f"output/2026/01/0{day}/of somebody else.txt", ContentFile(b"x"))
    assert sweep_orphans(timedelta(seconds=-5), days=2) == SweepReport()  # nothing of the last two days has no row
    assert sweep_orphans(timedelta(seconds=-5)) == SweepReport(files=5)
    assert len(names(bucket)) == 7


# ---------------------------------------------------------------- jobs


def submit_canny(client: Client) -> Job:
    body = {"image": image_64(), "kind": "canny"}
    reply = client.post("/api/preprocess/", body, content_type="application/json", headers={"Prefer": "respond-async"})
    return Job.objects.get(pk=reply.json()["id"])


@pytest.mark.parametrize("method", ["GET", "PUT"])  # as its picture is read, as what it made is written
@pytest.mark.parametrize("fault", ["503", "lost"])
def test_a_job_is_tried_again_once_the_storage_is_back(bucket: Proxy, client: Client, method: str, fault: str) -> None:
    job, loop = submit_canny(client), WorkerLoop()
    before = names(bucket)
    bucket.fail(fault, method=method)
    loop.run_once()
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error) == ("queued", 0, None)
    bucket.fail("", 0)
    Job.objects.update(available_at=timezone.now() - timedelta(seconds=1))
    loop.run_once()
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("succeeded", 1)
    sweep_orphans(timedelta(seconds=-5))
    assert len(names(bucket)) == len(before) + 2 == 2 * StoredFile.objects.count()


def test_a_storage_that_is_away_for_long_costs_no_job_and_none_of_its_attempts(
    bucket: Proxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are for a job that may have ended its worker: one that was killed once is tried again, after an outage too."""
    outage = StorageOutage()
    outage.delay(time.monotonic() - 600)
    outage.delay(time.monotonic() - 60)
    monkeypatch.setattr(endings, "_outage", outage)
    job, loop = submit_canny(client), WorkerLoop()
    bucket.fail("503", method="PUT")
    for _ in range(job.max_attempts + 2):
        Job.objects.update(available_at=timezone.now() - timedelta(seconds=1))
        loop.run_once()
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error) == ("queued", 0, None)
    assert 50 < (job.available_at - timezone.now()).total_seconds() < 61
    bucket.fail("", 0)
    Job.objects.update(available_at=timezone.now() - timedelta(seconds=1))
    loop.run_once()
    job.refresh_from_db()
    assert job.status == "succeeded"


@pytest.mark.parametrize(("fault", "code"), [("denied", "storage_refused"), ("503", "no_storage")])
def test_a_job_that_fails_for_it_says_so(bucket: Proxy, client: Client, fault: str, code: str) -> None:
    job = submit_canny(client)
    bucket.fail(fault)
    Job.objects.update(created_at=timezone.now() - timedelta(days=2))
    WorkerLoop().run_once()
    job.refresh_from_db()
    assert job.status == "failed"
    assert (job.error["code"], job.error["status"]) == (code, 503)
    assert "storage" in job.error["detail"]
