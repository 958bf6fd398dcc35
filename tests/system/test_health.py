"""Health, readiness and status."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from api.jobs.models import Worker
from api.jobs.states import Status
from tests.system.conftest import MakeJob

MakeWorker = Callable[..., Worker]


def test_health_asks_no_database(client: Client) -> None:
    reply = client.get("/api/health/")  # without the django_db mark a query would raise
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_a_server_without_a_worker_is_not_ready(client: Client) -> None:
    reply = client.get("/api/ready/")
    assert (reply.status_code, reply["Content-Type"]) == (503, "application/problem+json")
    assert reply.json()["code"] == "no_worker"
    assert reply["Retry-After"] == "5"


def test_a_server_with_a_worker_is_ready(client: Client, make_worker: MakeWorker) -> None:
    make_worker()
    assert client.get("/api/ready/").status_code == 200


@pytest.mark.django_db
def test_a_server_that_starts_its_own_worker_is_ready_while_that_comes_up(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_RUNNER = "embedded"
    monkeypatch.setattr("api.system.selectors._process_started", time.monotonic())
    assert (client.get("/api/ready/").status_code, client.get("/api/status/").json()["status"]) == (200, "loading")


@pytest.mark.django_db
def test_a_worker_that_never_came_up_makes_it_unready(client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOB_RUNNER = "embedded"
    monkeypatch.setattr("api.system.selectors._process_started", float("-inf"))
    assert client.get("/api/ready/").status_code == 503


def test_a_worker_that_went_silent_does_not_count(client: Client, settings: Any, make_worker: MakeWorker) -> None:
    make_worker(silent_for=timedelta(seconds=settings.JOB_LEASE_SECONDS + 1))
    assert client.get("/api/ready/").status_code == 503
    assert client.get("/api/status/").json()["workers"] == []


def test_a_worker_that_has_ended_does_not_count(client: Client, make_worker: MakeWorker) -> None:
    make_worker(state=Worker.State.STOPPED)
    assert client.get("/api/ready/").status_code == 503


# ---------------------------------------------------------------- status


@pytest.mark.django_db
def test_status_says_that_there_is_no_worker(client: Client) -> None:
    status = client.get("/api/status/").json()
    assert (status["status"], status["inference_available"]) == ("no_worker", False)
    assert status["system_info"]["cuda_available"] is None  # nobody here has looked
    assert status["system_info"]["pytorch_version"]
    assert status["system_info"]["memory"]["total"] > 0


def test_status_shows_the_worker_and_its_machine(client: Client, make_worker: MakeWorker) -> None:
    make_worker()
    status = client.get("/api/status/").json()
    assert (status["status"], status["inference_available"], status["loaded_models"]) == ("ready", True, ["starter"])
    (worker,) = status["workers"]
    assert worker["device"] == {"type": "cuda", "index": 0, "name": "A GPU", "memory_total": 24 * 2**30}
    assert worker["dtype"] == "float16"
    assert worker["memory"]["available"] == 32 * 2**30
    assert worker["models"][0]["bytes"] == 24_000_000
    assert worker["heartbeat"].endswith("Z")
    info = status["system_info"]
    assert (info["pytorch_version"], info["cuda_available"], info["cuda_version"], info["device_count"]) == (
        "2.13.0",
        True,
        "13.0",
        1,
    )
    assert info["devices"] == [{"index": 0, "name": "A GPU"}]
    assert info["cpu"]["cores"] == 8


def test_status_is_busy_while_every_worker_runs_a_job(client: Client, make_worker: MakeWorker, make_job: MakeJob) -> None:
    make_job(kind="txt2img", status=Status.RUNNING, worker=make_worker())
    assert client.get("/api/status/").json()["status"] == "busy"


def test_status_is_ready_while_a_worker_is_free(client: Client, make_worker: MakeWorker, make_job: MakeJob) -> None:
    make_worker()
    make_job(kind="txt2img", status=Status.RUNNING, worker=make_worker())
    assert client.get("/api/status/").json()["status"] == "ready"


@pytest.mark.parametrize("state", [Worker.State.STARTING, Worker.State.LOADING])
def test_status_is_loading_while_the_worker_comes_up(client: Client, make_worker: MakeWorker, state: str) -> None:
    make_worker(state=state, device={}, loaded_models=[])
    status = client.get("/api/status/").json()
    assert status["status"] == "loading"
    assert status["workers"][0]["device"] is None


def test_status_is_loading_while_a_model_is_loaded(client: Client, make_worker: MakeWorker, make_job: MakeJob) -> None:
    make_job(kind="load_model", status=Status.RUNNING, worker=make_worker())
    assert client.get("/api/status/").json()["status"] == "loading"


def test_status_counts_the_queue(client: Client, make_worker: MakeWorker, make_job: MakeJob) -> None:
    make_job()
    make_job()
    make_job(status=Status.RUNNING, worker=make_worker())
    make_job(status=Status.SUCCEEDED)
    assert client.get("/api/status/").json()["queue"] == {"queued": 2, "running": 1}


def test_status_asks_the_database_the_same_few_questions_however_much_there_is(
    client: Client, make_worker: MakeWorker, make_job: MakeJob
) -> None:
    for _ in range(5):
        make_job(status=Status.RUNNING, worker=make_worker())
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/status/")
    assert len(queries) <= 5
