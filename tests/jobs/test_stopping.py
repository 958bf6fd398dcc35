"""A web process that is asked to stop: what its clients see of that."""

import asyncio
import json
import signal
from pathlib import Path

import httpx
import pytest

from tests.jobs.conftest import TESTING_SETTINGS
from tests.live import LiveServer

pytestmark = pytest.mark.own_database
NO_WORKER = {"kind": "noop"}
CHAT = {"messages": [{"role": "user", "content": "Is it?"}]}
UPLOAD = "POST /api/images/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 90000\r\n\r\n"


async def send_part(port: int) -> bytes:
    """Of an upload that never comes whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(UPLOAD.encode() + b"{" * 1000)
    return await reader.read()


async def test_whoever_was_let_in_is_answered(tmp_path: Path) -> None:
    environment = {"DJANGO_SETTINGS_MODULE": TESTING_SETTINGS, "JOB_RUNNER": "external", "DATABASE_URL": ""}
    with LiveServer(tmp_path / "data", STOP_DELAY_SECONDS=1, STOP_SECONDS=5, **environment) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:

            async def read_events(links: dict[str, str]) -> str:
                return (await client.get(links["events"])).text

            job = (await client.post("/api/test-jobs/", json=NO_WORKER, headers={"Prefer": "respond-async"})).json()
            waiting = asyncio.create_task(client.post("/api/test-jobs/", json=NO_WORKER, headers={"Prefer": "wait=60"}))
            chat = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
            chunks = asyncio.create_task(client.post("/v1/chat/completions", json={**CHAT, "stream": True}))
            events, upload = asyncio.create_task(read_events(job["links"])), asyncio.create_task(send_part(server.port))
            await asyncio.sleep(1)
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as idle:
                assert "connection" not in (await idle.get("/api/health/")).headers
                assert server.process is not None
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.3)
                last = await idle.get("/api/ready/")  # on the connection that was idle
                assert (last.status_code, last.headers["connection"], last.json()["code"]) == (503, "close", "stopping")
                assert (await idle.get("/api/health/")).status_code == 200  # a new one, which is still accepted
            answers = [await waiting, await chat, await chunks]
            assert [answer.status_code for answer in answers] == [202, 503, 503]
            assert answers[0].json()["status"] == "queued"
            assert answers[1].json()["error"]["code"] == "restarting"
            assert (answers[2].headers["retry-after"], answers[2].headers["x-should-retry"]) == ("1", "true")
            assert "id: 1\n" in await events
            assert "come back with Last-Event-ID" in await events
            head, _, body = (await upload).partition(b"\r\n\r\n")
            assert (head[:12], json.loads(body)["code"]) == (b"HTTP/1.1 503", "service_unavailable")
            assert server.process.wait(5) == 0
        server.start()
        kept = {row["kind"]: row["status"] for row in server.client.get("/api/jobs/").json()["results"]}
        assert kept == {"noop": "queued", "chat": "cancelled"}
