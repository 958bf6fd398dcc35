"""Loading and unloading models as jobs: a real small checkpoint in a real loader."""

from pathlib import Path
from typing import Any

import pytest
import torch
from django.test import Client

from api import model_loader
from api.access.services import create_key
from api.devices import Device
from api.downloads.store import ModelStore
from api.jobs.models import Job, Worker
from api.jobs.worker.loop import WorkerLoop
from api.system.worker_runtime import describe_runtime
from config.catalog import get_catalog
from tests.system.conftest import bearer, listed_model

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def worker(own_catalog: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> WorkerLoop:
    """A worker loop of which the test turns the crank."""
    monkeypatch.setattr(model_loader, "_loader", None)
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    model_loader.configure(get_catalog(), ModelStore(settings.MODELS_DIR), device)
    return WorkerLoop(describe=describe_runtime)


def command(client: Client, address: str) -> Job:
    reply = client.post(f"/api/models/{address}/", headers=ASYNC)
    assert reply.status_code == 202
    return Job.objects.get(pk=reply.json()["id"])


def test_loading_is_a_job_that_ends_with_the_model_in_memory(client: Client, worker: WorkerLoop) -> None:
    job = command(client, "tiny/one/load")
    assert (job.kind, job.model_id) == ("load_model", "tiny/one")
    assert worker.run_once()
    job.refresh_from_db()
    assert (job.status, job.result) == ("succeeded", {"model_id": "tiny/one", "loaded": True})
    assert job.progress["fraction"] == 1.0
    assert job.timings["load"] > 0
    assert listed_model(client, "tiny/one")["loaded"] is True  # at once, not at the next heartbeat


def test_unloading_frees_it(client: Client, worker: WorkerLoop) -> None:
    command(client, "tiny/one/load")
    job = command(client, "tiny/one/unload")
    while worker.run_once():
        pass
    job.refresh_from_db()
    assert job.result == {"model_id": "tiny/one", "unloaded": True}
    assert model_loader.get_loader().loaded() == []
    assert listed_model(client, "tiny/one")["loaded"] is False


def test_unloading_what_is_not_loaded_does_nothing(client: Client, worker: WorkerLoop) -> None:
    job = command(client, "tiny/one/unload")
    worker.run_once()
    job.refresh_from_db()
    assert job.result == {"model_id": "tiny/one", "unloaded": False}


def test_a_model_in_use_is_not_unloaded(client: Client, worker: WorkerLoop) -> None:
    job = command(client, "tiny/one/unload")
    with model_loader.get_loader().use("tiny/one", "text-to-image"):
        worker.run_once()
    job.refresh_from_db()
    assert (job.status, job.error["code"], job.error["status"]) == ("failed", "model_busy", 409)


def test_a_model_whose_folder_is_missing_fails_with_a_reason(client: Client, worker: WorkerLoop, own_catalog: Path) -> None:
    job = command(client, "gone/load")
    worker.run_once()
    job.refresh_from_db()
    assert (job.status, job.error["code"]) == ("failed", "not_found")
    assert str(own_catalog.parent) not in job.error["detail"]


def test_a_hub_repositorys_own_name_names_the_model(client: Client) -> None:
    assert command(client, "stable-diffusion-v1-5/stable-diffusion-v1-5/load").model_id == "stable-diffusion-v1-5"


def test_an_unknown_model_is_not_found_and_the_nearest_are_named(client: Client) -> None:
    reply = client.post("/api/models/dreamshaper-9/load/", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_model")
    assert "dreamshaper-8" in reply.json()["detail"]


@pytest.mark.parametrize("wrong", ["a..b", "a/b/c/d", "-x", "http://evil.example/x"])
def test_what_is_no_model_id_is_refused(client: Client, wrong: str) -> None:
    reply = client.post(f"/api/models/{wrong}/load/", headers=ASYNC)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_model_id")


def test_an_unknown_field_is_refused(client: Client) -> None:
    reply = client.post("/api/models/starter/load/", {"force": True}, content_type="application/json")
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == "force"


@pytest.mark.parametrize("what", ["load", "unload"])
def test_only_staff_may_load_and_unload(outside: Client, staff: dict[str, str], what: str) -> None:
    _, token = create_key(name="a client", scopes=["read", "submit"])
    address = f"/api/models/starter/{what}/"
    assert outside.post(address, headers={**ASYNC, **bearer(token)}).status_code == 403
    assert outside.post(address, headers={**ASYNC, **staff}).status_code == 202


def test_loading_may_be_for_one_worker(client: Client, worker: WorkerLoop) -> None:
    other = WorkerLoop(describe=describe_runtime)
    reply = client.post("/api/models/tiny/one/load/", {"worker": str(worker.worker.pk)}, "application/json", headers=ASYNC)
    assert reply.json()["params"] == {"model_id": "tiny/one", "worker": str(worker.worker.pk)}
    assert [other.run_once(), worker.run_once()] == [False, True]
    assert Job.objects.get(pk=reply.json()["id"]).worker == worker.worker


def test_it_is_for_a_live_worker_that_loads_models(client: Client, worker: WorkerLoop) -> None:
    modelless = Worker.objects.create(hostname="here", pid=1, kinds=["layout_score"])
    gone = Worker.objects.create(hostname="here", pid=1, state=Worker.State.STOPPED)
    for row, detail in ((modelless, "This worker loads no models."), (gone, "No worker that is alive has this id")):
        reply = client.post("/api/models/tiny/one/unload/", {"worker": str(row.pk)}, "application/json", headers=ASYNC)
        assert reply.status_code == 400
        assert detail in str(reply.json()["errors"])


@pytest.fixture
def loops(worker: WorkerLoop) -> list[WorkerLoop]:
    return [worker, WorkerLoop(describe=describe_runtime)]


def run_for_all(client: Client, loops: list[WorkerLoop], address: str) -> Job:
    reply = client.post(f"/api/models/{address}/", {"worker": "all"}, "application/json", headers=ASYNC)
    for loop in loops * 3:
        loop.run_once()
    return Job.objects.get(pk=reply.json()["id"])


def test_loading_may_be_for_all_workers(client: Client, loops: list[WorkerLoop]) -> None:
    modelless = Worker.objects.create(hostname="here", pid=1, kinds=["layout_score"])
    job = run_for_all(client, loops, "tiny/one/load")
    assert (job.status, job.result["model_id"]) == ("succeeded", "tiny/one")
    loaded = {one["worker"]: one["result"]["loaded"] for one in job.result["workers"]}
    assert loaded == {str(loop.worker.pk): True for loop in loops}
    assert str(modelless.pk) not in loaded


def test_what_one_worker_of_all_did_not_do_fails_the_job(client: Client, loops: list[WorkerLoop]) -> None:
    job = run_for_all(client, loops, "gone/load")
    assert (job.status, job.error["code"]) == ("failed", "not_found")
    assert job.error["detail"].startswith("2 of 2 workers did not. Worker ")
    with model_loader.get_loader().use("tiny/one", "text-to-image"):
        busy = run_for_all(client, loops, "tiny/one/unload")
    assert (busy.status, busy.error["status"]) == ("failed", 409)


def test_a_worker_whose_heartbeat_is_late_still_does_its_own_part(client: Client, loops: list[WorkerLoop]) -> None:
    reply = client.post("/api/models/tiny/one/load/", {"worker": "all"}, "application/json", headers=ASYNC)
    Worker.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    for _ in range(3):
        loops[0].run_once()
    job = Job.objects.get(pk=reply.json()["id"])
    assert [one["worker"] for one in job.result["workers"]] == [str(loops[0].worker.pk)]


def test_all_workers_are_at_least_one(client: Client) -> None:
    reply = client.post("/api/models/starter/load/", {"worker": "all"}, "application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "worker")


def test_a_workers_id_is_read_in_every_form(client: Client, worker: WorkerLoop) -> None:
    for text in (worker.worker.pk.hex, str(worker.worker.pk).upper()):
        reply = client.post("/api/models/tiny/one/load/", {"worker": text}, "application/json", headers=ASYNC)
        assert reply.json()["params"]["worker"] == str(worker.worker.pk)
    reply = client.post("/api/models/tiny/one/load/", {"worker": "mine"}, "application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "worker")
