"""Progress, pushed to the page as HTML."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from api.access.services import create_key
from api.errors import DarkroomError
from api.jobs.lifecycle import claim_jobs, emit_event, fail_job
from api.jobs.models import JobEvent, Worker
from tests.rows import make_job, make_picture

pytestmark = pytest.mark.django_db(transaction=True)
PREVIEW = "data:image/jpeg;base64,AAAA"


async def events_of(job: Any) -> AsyncIterator[str]:
    reply = await AsyncClient().get(f"/studio/jobs/{job.pk}/stream")
    assert reply.headers["Content-Type"] == "text/event-stream"
    async for chunk in reply.streaming_content:
        yield chunk.decode()


async def parts_of(job: Any) -> list[str]:
    return [part async for part in events_of(job) if part.startswith("event: ")]


async def test_a_job_that_has_ended_gives_its_pictures_at_once() -> None:
    picture = await sync_to_async(make_picture)()
    [done] = await parts_of(picture.job)
    assert done.startswith("event: done\n")
    assert f"/api/images/{picture.pk}/file/" in done
    assert 'hx-swap-oob="afterbegin:#tiles"' in done


async def test_a_running_job_gives_its_step_and_its_preview_and_then_its_end() -> None:
    await sync_to_async(make_job)("queued")
    worker = await Worker.objects.acreate(hostname="here", pid=1)
    [job] = await sync_to_async(claim_jobs)(worker=worker)
    seen = []
    async for part in events_of(job):
        seen.append(part)
        if len(seen) == 2:  # the comment, and how the job stood
            progress = {"fraction": 0.5, "step": 5, "steps": 10}
            await sync_to_async(emit_event)(job=job, type="preview", data={**progress, "preview": PREVIEW}, progress=progress)
        if "Step 5 of 10" in part and "event: state" in part:
            assert f'src="{PREVIEW}"' in part
            await sync_to_async(fail_job)(job=job, error=DarkroomError("x", 500, "It went wrong."))
    assert seen[-1].startswith("event: done\n")
    assert "It went wrong." in seen[-1]


async def test_who_comes_late_sees_the_latest_preview_and_no_replay() -> None:
    job = await sync_to_async(make_job)("running", event_sequence=9, progress={"fraction": 0.9, "step": 9, "steps": 10})
    await JobEvent.objects.acreate(job=job, sequence=9, type="preview", data={"preview": PREVIEW})
    async for part in events_of(job):
        if part.startswith("event: state"):
            assert PREVIEW in part
            assert "Step 9 of 10" in part
            break


async def test_every_line_of_a_part_is_data() -> None:
    [done] = await parts_of(await sync_to_async(make_job)("cancelled", prompt="two\nlines"))
    lines = done.rstrip("\n").split("\n")
    assert lines[0] == "event: done"
    assert all(line.startswith("data: ") for line in lines[1:])


async def test_a_stranger_may_not_watch() -> None:
    job = await sync_to_async(make_job)("running")
    await sync_to_async(create_key)(name="somebody's")
    reply = await AsyncClient(REMOTE_ADDR="192.0.2.7").get(f"/studio/jobs/{job.pk}/stream")
    assert reply.status_code == 401


async def test_an_unknown_job_is_not_found() -> None:
    assert (await AsyncClient().get("/studio/jobs/0197c0de-0000-7000-8000-000000000000/stream")).status_code == 404
