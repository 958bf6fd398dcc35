"""JOB_RUNNER=celery with a real Redis: a web process, a Celery worker as README starts it, and what is told while the broker is away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.redis_server import REDIS, RedisServer
from tests.live import ROOT, LiveServer

pytestmark = [
    pytest.mark.own_database,
    pytest.mark.models,
    pytest.mark.skipif(REDIS is None and os.environ.get("CI") != "true", reason="redis-server is not installed"),
]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def server(redis: RedisServer, tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(
        tmp_path / "data", DATABASE_URL="", JOB_RUNNER="celery", CELERY_BROKER_URL=redis.url, JOB_LEASE_SECONDS=20
    ) as live:
        yield live


@pytest.fixture
def worker(server: LiveServer) -> Iterator[subprocess.Popen[bytes]]:
    """As README has it."""
    command = [str(Path(sys.executable).with_name("celery")), "-A", "config", "worker"]
    with (server.folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=server.environment, stdout=log, stderr=log)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def make_a_picture(server: LiveServer) -> float:
    """Seconds until its job has succeeded."""
    started = time.monotonic()
    reply = server.client.post("/api/txt2img/", json={"prompt": "a lake", "steps": 1})
    assert (reply.status_code, reply.json()["status"]) == (201, "succeeded"), reply.text
    return time.monotonic() - started


def test_a_celery_worker_makes_pictures_and_goes_on_when_the_broker_was_away(
    server: LiveServer, worker: subprocess.Popen[bytes], redis: RedisServer
) -> None:
    assert server.client.get("/api/ready/").status_code == 503  # its worker is another process, which has yet to start
    server.wait_until(lambda: server.client.get("/api/status/").json()["status"] == "ready", "the worker is there")
    make_a_picture(server)  # which loads the model
    assert make_a_picture(server) < 10
    assert "answers" in broker_line(server)
    redis.stop()
    assert "does not answer" in broker_line(server, status=1)
    reply = server.client.post("/api/txt2img/", json={"prompt": "a sea", "steps": 1}, headers={"Prefer": "respond-async"})
    assert reply.status_code == 202  # accepted is accepted
    job = reply.json()["links"]["self"]
    server.wait_until(lambda: server.client.get(job).json()["status"] == "succeeded", "it is made without the broker")
    assert worker.poll() is None


def broker_line(server: LiveServer, status: int = 0) -> str:
    """What the doctor says of the broker."""
    command = [sys.executable, "manage.py", "doctor"]
    done = subprocess.run(command, cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout
    return next(line for line in done.stdout.splitlines() if "broker" in line)
