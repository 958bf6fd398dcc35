"""A worker that is drained ends what it runs and claims nothing more; others go on, and it comes back."""

import socket
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client

from api.access.services import create_key
from api.jobs.draining import drain, draining_ids, is_machine_out, live_workers
from api.jobs.models import Drain, Job, Worker
from api.jobs.states import Status
from api.jobs.worker.loop import WorkerLoop
from api.system.handler import LoadModel
from tests.jobs.conftest import ends, now_as, until

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_worker_process_ends_what_it_runs_and_goes_with_status_0(workers: Any, submit: Any) -> None:
    child = workers.start()
    running = submit("sleep", {"seconds": 3})
    until(lambda: now_as(running).status == Status.RUNNING)
    waiting = submit()
    said = StringIO()
    call_command("drain", this=True, exit=True, wait=30.0, stdout=said)
    assert said.getvalue().splitlines() == [f"1 workers of {socket.gethostname()} claim nothing more.", "Drained."]
    assert child.wait(10) == 0
    assert (now_as(running).status, now_as(running).attempt, now_as(waiting).status) == ("succeeded", 1, "queued")
    assert is_machine_out(socket.gethostname())  # so no supervisor starts one
    call_command("drain", this=True, undo=True)
    assert not is_machine_out(socket.gethostname())
    workers.start()
    assert ends(waiting).status == Status.SUCCEEDED


def test_another_worker_takes_what_is_queued_and_it_comes_back(loop: WorkerLoop, submit: Any) -> None:
    other = WorkerLoop()
    drain(worker_id=loop.worker.pk)
    for each in (loop, other):
        each.keeper.look_for_drain()
    job = submit()
    assert (loop.run_once(), now_as(job).status) == (False, "queued")
    assert (loop.report()["state"], other.report()["state"]) == ("draining", "idle")
    assert Worker.objects.get(pk=loop.worker.pk).drained_at is not None
    assert (other.run_once(), now_as(job).status) == (True, "succeeded")
    late = submit(only_worker_id=loop.worker.pk)
    loop.keeper.look_for_drain()
    assert now_as(late).error["code"] == "worker_draining"
    call_command("drain", worker=str(loop.worker.pk)[-12:], undo=True)
    loop.keeper.look_for_drain()
    job = submit()
    assert (loop.run_once(), now_as(job).worker_id) == (True, loop.worker.pk)
    assert Worker.objects.get(pk=loop.worker.pk).drained_at is None


def test_a_session_ends_before_its_worker_is_drained(loop: WorkerLoop, submit: Any) -> None:
    job = submit("tokens", {"count": 400, "key": "a"})
    loop.run_once()
    drain(worker_id=loop.worker.pk)
    loop.keeper.look_for_drain()
    late = submit("tokens", {"count": 1, "key": "a"})
    while loop.sessions:
        loop.run_once()
    loop.run_once()
    assert (now_as(job).status, now_as(late).status) == ("succeeded", "queued")
    assert Worker.objects.get(pk=loop.worker.pk).drained_at is not None


def test_jobs_for_that_worker_alone_are_told_and_no_more_are_taken(submit: Any, client: Client) -> None:
    here = Worker.objects.create(hostname="gpu-1", pid=1, kinds=[LoadModel.name], state=Worker.State.IDLE)
    there = Worker.objects.create(hostname="gpu-2", pid=1, kinds=[LoadModel.name], state=Worker.State.IDLE)
    addressed = submit("noop", only_worker_id=here.pk)
    call_command("drain", machine="gpu-1", stdout=StringIO())
    assert now_as(addressed).error == {
        "code": "worker_draining",
        "status": 409,
        "detail": "The worker that this job was for is being taken out of work. Send it to another one.",
    }
    refused = client.post("/api/models/starter/load/", {"worker": str(here.pk)}, "application/json")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "worker")
    assert "taken out of work" in refused.json()["errors"][0]["detail"]
    states = {worker["hostname"]: worker["state"] for worker in client.get("/api/status/").json()["workers"]}
    assert states == {"gpu-1": "draining", "gpu-2": "idle"}
    assert draining_ids(live_workers()) == {here.pk} != {there.pk}
    page = client.get("/studio/queue/").content.decode()
    assert ("Draining" in page, "pill-draining" in page) == (True, True)
    call_command("drain", machine="gpu-2", stdout=StringIO())
    assert client.get("/api/status/").json()["status"] == "no_worker"


def test_what_can_not_be_drained_is_told(worker: Worker) -> None:
    with pytest.raises(CommandError, match=r"0 workers that are alive have the id ffff.*There are: .*here:1"):
        call_command("drain", worker="ffff")
    with pytest.raises(CommandError, match="It was not drained"):
        call_command("drain", machine="elsewhere", undo=True)
    Job.objects.create(
        kind="noop", owner_key="alice", status=Status.RUNNING, worker=worker, lease_token=worker.pk, started_at=Now()
    )
    with pytest.raises(CommandError, match=r"After 0 s 1 workers still run 1 jobs\. They claim nothing more; wait again"):
        call_command("drain", machine="here", wait=0.0, stdout=StringIO())


def test_staff_drains_in_the_admin_and_over_the_api(worker: Worker, client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin"))
    chosen = {"_selected_action": [str(worker.pk)]}
    assert client.post("/admin/jobs/worker/", {"action": "drain", **chosen}).status_code == 302
    assert "pill-draining" in client.get("/admin/jobs/worker/").content.decode()
    assert client.post("/admin/jobs/worker/", {"action": "undo_drain", **chosen}).status_code == 302
    assert not Drain.objects.exists()

    reader, staff = (
        {"Authorization": f"Bearer {create_key(name='a key', scopes=[scope])[1]}"} for scope in ("submit", "staff")
    )
    assert client.post("/api/drains/", {"hostname": "here"}, "application/json", headers=reader).status_code == 403
    for body, field in (
        ({}, "worker"),
        ({"worker": str(worker.pk), "hostname": "here"}, "worker"),
        ({"worker": "x"}, "worker"),
    ):
        refused = client.post("/api/drains/", body, "application/json", headers=staff)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, field)
    made = client.post("/api/drains/", {"hostname": "here", "exit": True}, "application/json", headers=staff)
    assert (made.status_code, made.json()["hostname"], made.json()["undrained"]) == (201, "here", 1)
    assert client.get("/api/drains/", headers=staff).json() == [made.json()]
    assert client.delete(f"/api/drains/{made.json()['id']}/", headers=staff).status_code == 204
    assert client.delete(f"/api/drains/{made.json()['id']}/", headers=staff).status_code == 404
    nothing = client.post("/api/drains/", {"hostname": "here", "exit": None}, "application/json", headers=staff)
    assert nothing.json()["exit"] is False
