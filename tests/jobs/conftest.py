"""The kinds of tests.jobs.kinds_app, ways to make jobs and to run them here, and worker processes on the test's own database."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from api.jobs import kinds, lifecycle
from api.jobs.models import Job, Worker
from api.jobs.worker.loop import WorkerLoop
from tests.jobs.kinds_app.kinds import KINDS
from tests.rows import spec_of

TESTING_SETTINGS = "tests.jobs.kinds_app.settings"


@pytest.fixture(autouse=True)
def test_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_kinds", {**kinds._kinds, **{kind.name: kind for kind in KINDS}})


@pytest.fixture
def submit() -> Callable[..., Job]:
    def submit_one(kind: str = "noop", params: dict[str, Any] | None = None, **fields: Any) -> Job:
        of_row = {"model_id": fields.pop("model_id", ""), "prompt": fields.pop("prompt", "")}
        spec = spec_of(kind, params or {}, **of_row)
        return lifecycle.submit_job(spec=spec, owner_key=fields.pop("owner_key", "alice"), **fields)

    return submit_one


@pytest.fixture
def worker() -> Worker:
    return Worker.objects.create(hostname="here", pid=1)


@pytest.fixture
def loop() -> WorkerLoop:
    """A worker's loop in this process; `run_once` is one claim, with what it runs."""
    return WorkerLoop()


@pytest.fixture
def claim(worker: Worker) -> Callable[[], Job]:
    """The head of the queue, claimed."""
    return lambda: lifecycle.claim_jobs(worker=worker)[0]


def now_as(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def expire_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_expires_at="2020-01-01T00:00:00Z")


def at_once(functions: list[Callable[[], Any]], threads: int = 16) -> list[Any]:
    """Results (or exceptions) of calls that are made by many threads at the same time, each with a connection of its own."""
    gate = threading.Barrier(min(threads, len(functions)))
    passed = threading.local()

    def call(function: Callable[[], Any]) -> Any:
        if not getattr(passed, "gate", False):
            passed.gate = True
            gate.wait(10)
        try:
            return function()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(gate.parties) as pool:
        return list(pool.map(call, functions))


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The condition's value as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail(f"This did not come true within {seconds:.0f} s.")


def ends(job: Job, seconds: float = 20.0) -> Job:
    return until(lambda: now_as(job) if now_as(job).is_final else None, seconds)


def database_url() -> str:
    """The test's database, for a process that isn't the test."""
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    return f"postgresql://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


def child_environment(**extra: str) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": TESTING_SETTINGS,
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(settings.DATA_DIR),
        "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        "JOB_RUNNER": "external",
        "LOG_FORMAT": "text",
        "LOG_LEVEL": "INFO",
        **extra,
    }


class Workers:
    """`manage.py worker` processes, ended with the test."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Returns once the worker claims."""
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "worker"]
        with open(self.log, "ab") as log:
            child = subprocess.Popen(
                command, env=child_environment(**environment), stdout=log, stderr=log, cwd=settings.BASE_DIR
            )
        self.children.append(child)
        until(lambda: Worker.objects.filter(pid=child.pid, state=Worker.State.IDLE).exists(), 30)
        return child

    def end(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
        # Workers that a child supervised end by themselves, a moment later. Until then they could claim the next test's jobs.
        here = Worker.objects.filter(hostname=socket.gethostname())
        pids = set(here.values_list("pid", flat=True)) - {os.getpid()}
        until(lambda: not any(map(is_alive, pids)))
        print(self.log.read_text())  # pytest shows it where the test failed


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def workers(transactional_db: None, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path / "worker.log")
    yield started
    started.end()
