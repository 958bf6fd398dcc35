"""A stream tells everything once and in order, whatever happens to the database and to its client."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from api.access.models import ApiKey
from api.access.services import create_key
from api.access.sessions import log_in_with_key
from api.dialects.openai.streaming import ChunkStream
from api.errors import DarkroomError
from api.jobs.api import preview_watches, streaming
from api.jobs.api.shared_reads import read_all
from api.jobs.api.streaming import KEEP_ALIVE, JobStream, StreamResponse
from api.jobs.api.views import EventStream
from api.jobs.lifecycle import claim_jobs, fail_job
from api.jobs.models import Job, JobEvent, PreviewWatch, Worker
from api.studio.stream import PartStream
from tests.rows import make_job

pytestmark = pytest.mark.django_db(transaction=True)


class Numbers(JobStream):
    """Status events are nothing to its clients."""

    fails_at = 0

    def begin(self) -> list[bytes]:
        return [b"begin"]

    def encode(self, event: JobEvent) -> list[bytes]:
        if event.sequence == self.fails_at:
            self.fails_at = 0
            raise OperationalError("the connection is lost")
        return [] if event.type == "status" else [b"%d" % event.sequence]

    def finish(self) -> list[bytes]:
        return [b"end"]


def make_events(job: Job, count: int, kind: str = "token") -> None:
    JobEvent.objects.bulk_create(JobEvent(job=job, sequence=number, type=kind, data={}) for number in range(1, count + 1))


async def told(stream: JobStream) -> list[bytes]:
    return [chunk async for chunk in stream.follow()]


async def test_a_read_that_breaks_off_is_gone_on_with_and_nothing_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    job = await sync_to_async(make_job)("succeeded")
    await sync_to_async(make_events)(job, 4)
    stream = Numbers(job.pk)
    stream.fails_at = 3
    assert await told(stream) == [b"begin", b"1", b"2", b"3", b"4", b"end"]


async def test_a_job_that_fails_while_its_events_are_read_has_failed() -> None:
    """Before there was anything to tell: the client must get the error's status, and no stream."""

    class Late(Numbers):
        def begin(self) -> list[bytes]:
            fail_job(job=job, error=DarkroomError("refused", 422, "No."))
            return []

    await sync_to_async(make_job)("queued")
    worker = await Worker.objects.acreate(hostname="here", pid=1)
    [job] = await sync_to_async(claim_jobs)(worker=worker)
    stream = Late(job.pk)
    assert await sync_to_async(read_all)([stream]) == [[b"2", b"end"]]
    assert stream.status == "failed"


async def test_a_stream_of_events_that_are_nothing_to_its_client_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SILENCE_SECONDS", 0.3)
    job = await sync_to_async(make_job)("running")
    chunks = Numbers(job.pk).follow()
    assert await anext(chunks) == b"begin"
    for number in range(1, 4):
        await JobEvent.objects.acreate(job=job, sequence=number, type="status", data={"status": "running"})
        await Job.objects.filter(pk=job.pk).aupdate(event_sequence=number)
    async with asyncio.timeout(5):
        assert await anext(chunks) == KEEP_ALIVE
    await chunks.aclose()


async def test_a_deleted_job_ends_its_stream() -> None:
    job = await sync_to_async(make_job)("running")
    chunks = Numbers(job.pk).follow()
    assert await anext(chunks) == b"begin"
    await Job.objects.filter(pk=job.pk).adelete()
    async with asyncio.timeout(5):
        assert [chunk async for chunk in chunks] == [b"end"]


@pytest.mark.parametrize(("status", "left"), [("running", [True]), ("succeeded", [])])
def test_closing_a_stream_before_its_end_is_leaving(status: str, left: list[bool]) -> None:
    calls: list[Any] = []
    stream = Numbers(make_job(status).pk)
    read_all([stream])
    StreamResponse(stream, leave=lambda: calls.append(True)).close()
    assert calls == left


# ---------------------------------------------------------------- previews


class Previews(Numbers):
    shows_previews = True


async def watched() -> set[Any]:
    return await sync_to_async(lambda: set(PreviewWatch.objects.values_list("job_id", flat=True)))()


async def watched_soon(*jobs: Job) -> None:
    async with asyncio.timeout(5):
        while await watched() != {job.pk for job in jobs}:
            await asyncio.sleep(0.02)


async def test_a_stream_that_shows_previews_says_so_while_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_watches, "REPEAT_SECONDS", 0.05)
    job, other = await sync_to_async(make_job)("running"), await sync_to_async(make_job)("running")
    streams = [Previews(job.pk).follow(), Previews(job.pk).follow(), Numbers(other.pk).follow()]
    following = [asyncio.create_task(told_by(stream)) for stream in streams]
    await watched_soon(job)
    for one in following[:1]:
        one.cancel()
    await PreviewWatch.objects.all().adelete()
    await watched_soon(job)  # by the one that is left
    for one in following[1:]:
        one.cancel()
    await asyncio.wait(following)
    await asyncio.sleep(0.2)
    await PreviewWatch.objects.all().adelete()
    await asyncio.sleep(0.2)
    assert await watched() == set()


async def told_by(chunks: Any) -> None:
    async for _ in chunks:
        pass


async def test_nobody_watches_a_job_that_has_ended() -> None:
    job = await sync_to_async(make_job)("succeeded")
    assert await told(Previews(job.pk)) == [b"begin", b"end"]
    assert await watched() == set()


def test_the_streams_that_show_previews_say_so() -> None:
    showing = {stream.__name__ for stream in (EventStream, PartStream, ChunkStream) if stream.shows_previews}
    assert showing == {"EventStream", "PartStream"}


def watching(kind: str) -> tuple[HttpRequest, Callable[[], object]]:
    """A request that is let in, and what takes that away."""
    key, token = create_key(name=kind, scopes=["read", "staff"])
    user = get_user_model().objects.create_user(kind, password="x", is_staff=True)
    request = RequestFactory().get(
        "/", REMOTE_ADDR="192.0.2.7", headers={"Authorization": f"Bearer {token}"} if kind == "key" else {}
    )
    request.session, request.user = SessionStore(), AnonymousUser()
    if kind == "key's session":
        log_in_with_key(request, key)
    elif kind == "account":
        login(request, user)
    request.session.save()
    if kind == "account":
        return request, lambda: get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    if kind == "log-out":
        login(request, user)
        request.session.save()
        return request, lambda: SessionStore(request.session.session_key).flush()
    return request, lambda: ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())


@pytest.mark.parametrize("kind", ["key", "key's session", "account", "log-out"])
async def test_a_stream_ends_once_what_let_it_in_is_taken_away(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "RECHECK_SECONDS", 0.1)
    job = await sync_to_async(make_job)("queued")
    request, revoke = await sync_to_async(watching)(kind)
    telling = asyncio.create_task(told(EventStream(request, job, 0).for_request(request, "read")))
    await asyncio.sleep(0.5)
    assert not telling.done()
    await sync_to_async(revoke)()
    await asyncio.wait_for(telling, 5)
    assert (await Job.objects.aget(pk=job.pk)).status == "queued"
