"""Clients that wait hold neither a thread nor a database connection of the web process."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.jobs.conftest import TESTING_SETTINGS
from tests.live import LiveServer

pytestmark = pytest.mark.own_database


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    environment = {"DJANGO_SETTINGS_MODULE": TESTING_SETTINGS, "JOB_RUNNER": "external", "DATABASE_URL": ""}
    with LiveServer(tmp_path / "data", **environment) as started:
        yield started


async def test_eighty_clients_wait_without_a_thread_each(server):
    process = psutil.Process(server.process.pid).children()[0]
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=httpx.Limits(max_connections=100)) as client:
        submit = [client.post("/api/test-jobs/", json={"kind": "noop"}, headers={"Prefer": "wait=6"}) for _ in range(80)]
        waiting = asyncio.gather(*submit)
        await asyncio.sleep(4)
        threads = process.num_threads()
        answers = await waiting
    assert {answer.status_code for answer in answers} == {202}
    assert threads < 20


async def test_a_stream_tells_what_happens_and_resumes(server):
    job = server.client.post("/api/test-jobs/", json={"kind": "noop"}, headers={"Prefer": "respond-async"}).json()
    server.client.post(job["links"]["cancel"])
    stream = server.client.get(job["links"]["events"])
    assert 'id: 1\nevent: status\ndata: {"status":"queued"}' in stream.text
    assert 'id: 2\nevent: status\ndata: {"status":"cancelled"}' in stream.text
    resumed = server.client.get(job["links"]["events"], headers={"Last-Event-ID": "1"})
    assert "queued" not in resumed.text
    assert "cancelled" in resumed.text
