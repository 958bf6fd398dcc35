"""Below the floor of free space no new job is taken, of whatever kind and by whatever entrance; and what is full is a 507."""

import base64
import errno
import io
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from PIL import Image

from api.jobs import disk, kinds, lifecycle
from api.jobs.api.dialect import Dialect
from api.jobs.disk import DiskFull
from api.jobs.models import Job
from api.jobs.states import Status
from api.outages import DISK_FULL, is_disk_full
from api.problems import problem_handler, server_error
from tests.jobs.conftest import now_as
from tests.rows import ANY_PARAMS, spec_of

pytestmark = pytest.mark.django_db
CHAT = {"model": "starter-vlm", "messages": [{"role": "user", "content": "What is a darkroom?"}]}
PICTURE = {"prompt": "a red circle"}
SCORED = {"event_data": {"title": "A fair"}}


def picture() -> str:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


BODIES: dict[str, Any] = {
    "api/txt2img/": PICTURE,
    "api/img2img/": {**PICTURE, "image": picture()},
    "api/grids/": {"request": PICTURE, "axes": [{"field": "steps", "values": [2, 4]}]},
    "api/upscale/": {"image": picture()},
    "api/preprocess/": {"image": picture(), "kind": "canny"},
    "api/cutout/": {"image": picture()},
    "api/score/": SCORED,
    "api/score/batch/": {"items": [SCORED]},
    "api/clip-score/": {"images": [picture()], "prompts": ["a red square"]},
    "api/detect/": {"image": picture()},
    "api/hazards/": {"image": picture()},
    "api/ocr/": {"image": picture(), "languages": ["en"]},
    "v1/chat/completions": CHAT,
    "chat-server/v1/chat/completions": CHAT,
    "chat-server/v1/chat/completions/torch": CHAT,
    "v1/responses/input_tokens": {"model": "starter-vlm", "input": "What is a darkroom?"},
    "v1/responses": {"model": "starter-vlm", "input": "What is a darkroom?"},
    "v1/images/generations": PICTURE,
    "v1/images/edits": {**PICTURE, "image": picture()},
    "v1/images/variations": {"image": picture()},
    "v1/completions": {"prompt": "A lake is"},
    "v1/embeddings": {"input": "a red circle"},
    "v1/detection": {"image": picture()},
    "generate": PICTURE,
    "score": {"variant": {"gradient": "bg-blue-600"}},
    "hf/text-to-image": {"inputs": "a red circle"},
    "hf/image-to-image": {"inputs": picture()},
    "hf/image-to-text": {"inputs": picture()},
    "hf/visual-question-answering": {"inputs": picture(), "question": "What is it?"},
    "hf/object-detection": {"inputs": picture()},
    "hf/zero-shot-image-classification": {"inputs": picture(), "parameters": {"candidate_labels": ["a circle", "a lake"]}},
    "hf/models/<path:model_id>": {"inputs": "a red circle"},
    "sdapi/v1/txt2img": PICTURE,
    "sdapi/v1/img2img": {**PICTURE, "init_images": [picture()]},
    "sdapi/v1/extra-single-image": {"image": picture(), "upscaler_1": "Lanczos"},
    "sdapi/v1/extra-batch-images": {"imageList": [{"data": picture(), "name": "a"}], "upscaler_1": "Lanczos"},
    "controlnet/detect": {"controlnet_module": "canny", "controlnet_input_images": [picture()]},
    "sdapi/v1/interrogate": {"image": picture()},
    "sdapi/v1/reload-checkpoint": {},
    "sdapi/v1/unload-checkpoint": {},
    "hf/models/<path:model_id>/v1/chat/completions": CHAT,
    "api/models/<path:model_id>/load/": {},
    "api/models/<path:model_id>/unload/": {},
}
NEEDS_JUDGEMENTS = "api/scorers/"
"""A training is refused before, where there is nothing to learn from; it is one of the kinds above."""


@pytest.fixture
def full(settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 2**62


@pytest.mark.parametrize("name", kinds.kind_names())
def test_no_kind_of_job_is_taken(name: str, full: None) -> None:
    with pytest.raises(DiskFull) as refused:
        lifecycle.submit_job(spec=spec_of(name, ANY_PARAMS), owner_key="local")
    assert (refused.value.status, refused.value.code) == (507, "disk_full")
    assert not Job.objects.exists()


def test_a_retry_is_not_taken_either(submit: Any, full: None, settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES, floor = 0, settings.MIN_FREE_DISK_BYTES
    job = submit()
    settings.MIN_FREE_DISK_BYTES = floor
    with pytest.raises(DiskFull):
        lifecycle.retry_job(job=job)


def test_a_replay_is_answered_with_the_job_that_is_there(submit: Any, settings: Any) -> None:
    job = submit(idempotency_key="k")
    settings.MIN_FREE_DISK_BYTES = 2**62
    assert submit(idempotency_key="k") == job


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[int]]:
    """What a disk has free at each measurement, from the last: the list ends as they are made. The floor is 1 GB."""
    settings.MIN_FREE_DISK_BYTES = 10**9
    free: list[int] = []
    monkeypatch.setattr(disk, "free_space", free.pop)
    monkeypatch.setattr(disk, "_plenty_until", {})
    monkeypatch.setattr(disk, "monotonic", lambda: 100.0)
    yield free
    assert free == []


def test_plenty_of_free_space_is_measured_once_in_a_moment(measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    measured[:] = [0, 10**12]
    disk.ensure_free_space(), disk.ensure_free_space()
    monkeypatch.setattr(disk, "monotonic", lambda: 100.0 + disk.MOMENT + 0.01)
    with pytest.raises(DiskFull):
        disk.ensure_free_space()


def test_close_to_the_floor_free_space_is_measured_each_time(measured: list[int]) -> None:
    measured[:] = [10**9 - 1, 10**9 + disk.PLENTY - 1]
    disk.ensure_free_space()
    with pytest.raises(DiskFull):
        disk.ensure_free_space()


def test_what_was_plenty_is_measured_again_for_another_floor(measured: list[int], settings: Any) -> None:
    measured[:] = [10**12, 10**12]
    disk.ensure_free_space()
    settings.MIN_FREE_DISK_BYTES = 2 * 10**12
    with pytest.raises(DiskFull):
        disk.ensure_free_space()


def addresses(found: list[Any], prefix: str = "") -> Iterator[str]:
    """Of all views that submit jobs."""
    for one in found:
        if isinstance(one, URLResolver):
            yield from addresses(one.url_patterns, prefix + str(one.pattern))
        elif (view := getattr(one.callback, "cls", None)) and issubclass(view, Dialect):
            yield prefix + str(one.pattern)


def post(client: Client, address: str) -> Any:
    path = address.replace("<path:model_id>", "starter-vlm" if "chat" in address else "starter")
    headers = {"Prefer": "respond-async"}
    return client.post(f"/{path}", json.dumps(BODIES[address]), content_type="application/json", headers=headers)


def test_these_are_all_the_entrances() -> None:
    assert set(addresses(get_resolver().url_patterns)) - {NEEDS_JUDGEMENTS} == set(BODIES)


@pytest.mark.parametrize("address", BODIES)
def test_no_entrance_takes_a_job(address: str, client: Client, full: None) -> None:
    reply = post(client, address)
    assert reply.status_code == 507, reply.content
    assert b"disk is full" in reply.content
    assert not Job.objects.exists()


# ---------------------------------------------------------------- what is full


def sqlite_error(code: int) -> OperationalError:
    import sqlite3

    cause = sqlite3.OperationalError("database or disk is full")
    cause.sqlite_errorcode = code
    error = OperationalError("database or disk is full")
    error.__cause__ = cause
    return error


def postgres_error() -> OperationalError:
    error = OperationalError("could not extend file: No space left on device")
    error.__cause__ = psycopg.errors.DiskFull("could not extend file: No space left on device")
    return error


FULL = [
    sqlite_error(13),
    postgres_error(),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]
OTHER = [sqlite_error(5), OperationalError("away"), OSError(errno.EIO, "I/O error"), ValueError("13"), None]


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_each_way_of_a_disk_to_be_full_is_507_inside_and_outside_of_rest(error: Exception) -> None:
    assert problem_handler(error, {}).status_code == 507  # type: ignore[union-attr]
    for address in ("/api/jobs/", "/v1/chat/completions", "/admin/"):
        try:
            raise error
        except Exception:
            reply = server_error(RequestFactory().get(address))
        assert reply.status_code == 507
        assert DISK_FULL.detail.encode() in getattr(reply, "content").replace(b"&#x27;", b"'")  # noqa: B009


@pytest.mark.parametrize("error", OTHER, ids=repr)
def test_what_failed_otherwise_is_not_taken_for_a_full_disk(error: Exception | None) -> None:
    assert not is_disk_full(error)


@pytest.fixture
def no_page_more(transactional_db: None) -> Iterator[None]:
    """SQLite may take no page more than the database has; a few rows fit into those."""

    def limit(*, connection: Any, **_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")

    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
    connection_created.connect(limit)
    limit(connection=connection)
    yield
    connection_created.disconnect(limit)
    connection.close()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's own limit")
@pytest.mark.parametrize("address", BODIES)
def test_a_truly_full_database_is_507_at_every_entrance(address: str, client: Client, no_page_more: None) -> None:
    statuses = [post(client, address).status_code for _ in range(30)]
    assert statuses[-1] == 507
    assert set(statuses) <= {202, 504, 507}


def test_a_job_that_finds_the_disk_full_says_so(submit: Any, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kinds.get_kind("noop"), "run", full)
    job = submit()
    loop.run_once()
    assert now_as(job).status == Status.FAILED
    assert now_as(job).error == DiskFull().to_json()
