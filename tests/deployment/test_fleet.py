"""docker-compose.fleet.yml by hand: its processes with its environment, of which only hosts, ports and the device are others.

PostgreSQL and Redis from Debian's packages, moto's S3 server, two web containers that start on an empty database at once, two workers.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployment import compose
from tests.files.s3_server import BUCKET, client_of, s3_server, url_of
from tests.live import ROOT, free_port
from tests.postgres import OwnPostgres

REDIS = shutil.which("redis-server")
FILE = "docker-compose.fleet.yml"
PASSWORD = "abcdef0123456789"
pytestmark = [
    pytest.mark.own_database,
    pytest.mark.models,
    pytest.mark.slow,
    pytest.mark.skipif(
        (REDIS is None or not OwnPostgres.can_be_had()) and os.environ.get("CI") != "true",
        reason="PostgreSQL or redis-server is not installed",
    ),
]


class Fleet:
    def __init__(self, folder: Path, variables: dict[str, str], ports: dict[str, int]) -> None:
        self.folder, self.ports = folder, ports
        self.services = compose.read(FILE, variables)["services"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, service: str, **replaced: str) -> None:
        """The service's command with its environment, in a shell whose `python`, `gunicorn` and `celery` are this environment's."""
        settings = {key: str(value) for key, value in self.services[service]["environment"].items()}
        for port, here in self.ports.items():
            settings = {key: value.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}") for key, value in settings.items()}
        binaries = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ours = ("HOME", "OMP_NUM_THREADS", "LANG", "PYTHONPATH", "HIDDEN_MODULES")
        kept = {key: value for key, value in os.environ.items() if key in ours}
        environment = {**kept, "PATH": binaries, "DATA_DIR": str(self.folder / name), **settings, **replaced}
        command = self.services[service].get("command") or image_command()
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait_until(self, condition: Any, what: str, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            logs = "\n".join(f"== {name}\n{self.log(name)[-1500:]}" for name in self.processes)
            assert time.monotonic() < deadline, f"Waited in vain until {what}:\n{logs}"
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def image_command() -> list[str]:
    [text] = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return list(json.loads(text))


def start_redis(stack: ExitStack, folder: Path) -> int:
    assert REDIS is not None, "CI has to install redis-server"
    port = free_port()
    command = [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), "--requirepass", PASSWORD]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    return port


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, bucket: Any) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    options = {"bucket_name": BUCKET, "endpoint_url": url_of(bucket), "region_name": "us-east-1"}
    with ExitStack() as stack:
        database = stack.enter_context(OwnPostgres())
        ports = {"5432": database.port, "6379": start_redis(stack, folder)}
        variables = {
            "ALLOWED_HOSTS": "localhost",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "FRONT": "127.0.0.1",
            "MEDIA_STORAGE_OPTIONS": json.dumps(options),
            "POSTGRES_PASSWORD": PASSWORD,
            "SECRET_KEY": "0123456789" * 6,
            "VALKEY_PASSWORD": PASSWORD,
        }
        database.run_sql("CREATE DATABASE darkroom")
        fleet = Fleet(folder, variables, ports)
        stack.callback(fleet.stop)
        yield fleet


def test_pictures_are_made_through_every_web_container_by_any_worker(fleet: Fleet, bucket: Any) -> None:
    ports = {name: free_port() for name in ("web1", "web2")}
    for name, port in ports.items():
        fleet.start(name, "web", HOST="127.0.0.1", PORT=str(port))
    clients = [httpx.Client(base_url=f"http://localhost:{port}", timeout=120) for port in ports.values()]
    fleet.wait_until(lambda: all(answers(client) for client in clients), "both web containers answer")
    for name in ("worker1", "worker2"):
        fleet.start(name, "worker", DEVICE="cpu")
    fleet.wait_until(lambda: len(clients[0].get("/api/status/").json()["workers"]) == 2, "both workers are there")

    jobs = [
        clients[number % 2].post("/api/txt2img/", json={"prompt": "a lake", "steps": 2, "seed": number}) for number in range(4)
    ]
    assert [(reply.status_code, reply.json()["status"]) for reply in jobs] == [(201, "succeeded")] * 4, jobs[0].text
    for number, reply in enumerate(jobs):
        [image] = reply.json()["result"]["images"]
        other = clients[(number + 1) % 2]  # the one that the request was not sent to
        assert other.get(f"/api/images/{image['id']}/file/").content.startswith(b"\x89PNG")
    keys = [each["Key"] for each in client_of(bucket).list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert sum(key.endswith(".png") for key in keys) == 4, keys


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/ready/?without_worker=true", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_worker_that_is_told_to_end_while_jobs_wait_ends_within_its_time(fleet: Fleet) -> None:
    client = httpx.Client(
        base_url=f"http://localhost:{port_of(fleet, 'web1')}", timeout=120, headers={"Prefer": "respond-async"}
    )
    jobs = [
        client.post("/api/txt2img/", json={"prompt": "a lake", "steps": 50, "seed": number}).json()["id"]
        for number in range(60)
    ]
    fleet.wait_until(lambda: any(client.get(f"/api/jobs/{job}/").json()["status"] == "running" for job in jobs), "one runs")
    grace = int(fleet.services["worker"]["stop_grace_period"].removesuffix("s"))
    started = time.monotonic()
    fleet.processes["worker1"].send_signal(signal.SIGTERM)
    fleet.processes["worker1"].wait(grace)
    assert time.monotonic() - started < grace
    statuses = {client.get(f"/api/jobs/{job}/").json()["status"] for job in jobs}
    assert "queued" in statuses, "all jobs had ended before: this says nothing"
    assert "failed" not in statuses


def port_of(fleet: Fleet, name: str) -> int:
    [port] = set(re.findall(r"http://localhost:(\d+)", fleet.log(name)))
    return int(port)
