"""Real `manage.py worker` processes: what they survive, and what they leave behind when they don't."""

import os
import signal
import subprocess
import sys
import time
from statistics import median

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from api.jobs import lifecycle
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.worker.device_list import cuda_device_count, worker_devices
from api.jobs.worker.supervisor import Supervisor
from config.env import env_devices
from tests.jobs.conftest import child_environment, ends, is_alive, now_as, until

pytestmark = pytest.mark.django_db(transaction=True)


def is_running(job: Job) -> bool:
    return now_as(job).status == Status.RUNNING


def exit_of(child: subprocess.Popen, seconds: float = 20) -> int:
    return child.wait(seconds)


def test_a_worker_runs_what_waits_and_what_comes(workers, submit):
    waiting = submit()
    workers.start()
    assert ends(waiting).status == ends(submit()).status == Status.SUCCEEDED


def test_an_idle_worker_wakes_for_a_job_and_not_at_its_next_look(workers, submit):
    workers.start()
    time.sleep(0.3)
    assert any(median(ends(submit()).timings["queue"] for _ in range(7)) < 0.3 for _ in range(3))


def test_sigterm_lets_what_runs_end_and_claims_no_more(workers, submit):
    child = workers.start()
    running, waiting = submit("sleep", {"steps": 10, "seconds": 0.1}), submit()
    until(lambda: is_running(running))
    child.send_signal(signal.SIGTERM)
    assert exit_of(child) == 0
    assert (now_as(running).status, now_as(waiting).status) == (Status.SUCCEEDED, Status.QUEUED)
    assert Worker.objects.get().state == Worker.State.STOPPED


def test_a_cancel_is_heard_within_a_step(workers, submit):
    def cancel_one() -> float:
        job = submit("sleep", {"steps": 100, "seconds": 0.1})
        until(lambda: now_as(job).progress.get("step"))
        lifecycle.cancel_job(job=job)
        started = time.monotonic()
        assert ends(job).status == Status.CANCELLED
        return time.monotonic() - started

    workers.start()
    assert any(cancel_one() < 1.5 for _ in range(4))  # as others leave it the processor


def test_a_worker_that_was_killed_leaves_its_job_to_another_once_the_lease_is_over(workers, submit):
    first = workers.start(JOB_LEASE_SECONDS="3", JOB_HEARTBEAT_SECONDS="1")
    job = submit("stubborn", {"seconds": 1})
    until(lambda: is_running(job))
    first.kill()
    workers.start(JOB_LEASE_SECONDS="3", JOB_HEARTBEAT_SECONDS="1")
    assert ends(job, 20).result == {"attempt": 2}


def test_a_worker_stopped_past_its_lease_and_continued_gives_no_second_result(workers, submit):
    short = {"JOB_LEASE_SECONDS": "2", "JOB_HEARTBEAT_SECONDS": "1"}
    frozen = workers.start(**short)
    job = submit("picture", {"seconds": 1})
    until(lambda: is_running(job))
    frozen.send_signal(signal.SIGSTOP)
    workers.start(**short)
    assert ends(job, 25).attempt == 2
    frozen.send_signal(signal.SIGCONT)
    after = submit()
    ends(after)
    until(lambda: "discarded" in workers.log.read_text())
    job = now_as(job)
    assert (job.status, job.attempt, job.images.count()) == (Status.SUCCEEDED, 2, 1)
    assert job.events.filter(type="result").count() == 1


def test_a_job_that_hangs_ends_its_worker_and_is_run_again(workers, submit):
    child = workers.start(TEST_STUCK_SECONDS="2", JOB_LEASE_SECONDS="2", JOB_HEARTBEAT_SECONDS="1")
    job = submit("hang")
    assert exit_of(child) == 75
    workers.start()
    assert ends(job).result == {"attempt": 2}


# ---------------------------------------------------------------- the supervisor

HOST = (
    "import django, time; django.setup(); from django.conf import settings; settings.JOB_RUNNER = 'embedded'; "
    "from api.jobs.worker.supervisor import ensure_started; ensure_started(); time.sleep(600)"
)


class Hosts:
    """Processes that supervise a worker, as a web process does."""

    def __init__(self, workers) -> None:
        self.workers = workers

    def start(self, **environment: str) -> subprocess.Popen:
        with open(self.workers.log, "ab") as log:
            host = subprocess.Popen(
                [sys.executable, "-c", HOST],
                env=child_environment(JOB_RUNNER="embedded", JOB_LEASE_SECONDS="60", **environment),
                cwd=settings.BASE_DIR,
                stdout=log,
                stderr=log,
            )
        self.workers.children.append(host)
        return host

    @staticmethod
    def worker(besides: tuple[int, ...] = ()) -> Worker:
        return until(lambda: Worker.objects.filter(state__in=["idle", "busy"]).exclude(pid__in=besides).first(), 40)


@pytest.fixture
def hosts(workers) -> Hosts:
    return Hosts(workers)


def test_the_supervisor_replaces_a_killed_worker_and_hands_its_job_back_at_once(hosts, submit):
    hosts.start()
    worker = hosts.worker()
    job = submit("stubborn", {"seconds": 1.5})
    until(lambda: is_running(job))
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not is_running(job), 5)  # long before the lease of 60 s
    assert ends(job, 30).result == {"attempt": 2}


def test_a_job_that_kills_its_worker_is_given_up_and_the_others_are_done(hosts, submit, settings):
    settings.JOB_MAX_ATTEMPTS = 2
    poison = submit("crash")
    others = [submit("noop") for _ in range(5)]
    hosts.start()
    assert [ends(job, 40).status for job in others] == [Status.SUCCEEDED] * 5
    poison = ends(poison, 40)
    assert (poison.status, poison.attempt, poison.error["code"]) == (Status.FAILED, 2, "attempts_exhausted")


def test_a_device_that_fails_ends_the_worker_and_the_next_one_does_the_job(hosts, submit):
    job = submit("fault")
    hosts.start()
    assert ends(job, 40).result == {"attempt": 2}


def test_when_the_web_process_is_killed_its_worker_ends_and_another_takes_over(hosts, submit):
    first, second = hosts.start(), hosts.start()
    worker = hosts.worker()
    job = submit("sleep", {"steps": 600, "seconds": 0.1})
    until(lambda: is_running(job))
    (first if owns(first, worker) else second).kill()
    until(lambda: not is_alive(worker.pid), 20)
    replacement = hosts.worker(besides=(worker.pid,))
    until(lambda: now_as(job).worker_id == replacement.pk)
    assert now_as(job).attempt == 1  # the first worker handed it back, unblamed
    lifecycle.cancel_job(job=job)
    assert ends(job).status == Status.CANCELLED


def owns(host: subprocess.Popen, worker: Worker) -> bool:
    with open(f"/proc/{worker.pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1]) == host.pid


# ---------------------------------------------------------------- how soon the next worker starts


def test_an_end_that_a_row_pays_for_is_never_waited_for():
    supervisor = Supervisor()
    assert [supervisor.delay_after(139, lived=0.5, paid=1) for _ in range(20)] == [0.0] * 20


def test_ends_that_nothing_explains_are_waited_for_longer_and_longer():
    supervisor = Supervisor()
    delays = [supervisor.delay_after(1, lived=0.5, paid=0) for _ in range(12)]
    assert delays[:4] == [0.0, 0.8, 1.6, 3.2]
    assert delays[-1] == 30.0


def test_a_row_that_pays_ends_the_waiting():
    supervisor = Supervisor()
    for _ in range(5):
        supervisor.delay_after(1, lived=0.5, paid=0)
    assert supervisor.delay_after(139, lived=0.5, paid=1) == 0.0
    assert supervisor.delay_after(1, lived=0.5, paid=0) == 0.0


def test_jobs_that_kill_their_worker_hold_nobody_up(hosts, submit):
    """The four come first, and each harmless one waits for one start of a worker at most."""
    poison = [submit("crash") for _ in range(4)]
    hosts.start()
    until(lambda: now_as(poison[0]).attempt, 40)
    for _ in range(4):
        started = time.monotonic()
        ends(submit("noop"), 40)
        assert time.monotonic() - started < 15
        time.sleep(1)
    assert sum(now_as(job).attempt for job in poison) >= 4


def test_a_job_that_was_in_a_batch_with_those_that_kill_their_worker_waits_for_one_end_more(hosts, submit):
    poison = [submit("batched", {"crashes": True}) for _ in range(3)]
    harmless = submit("batched")
    hosts.start()
    assert ends(harmless, 40).attempt == 2
    assert sum(now_as(job).attempt for job in poison) <= 4  # once together, and perhaps one of them alone since


# ---------------------------------------------------------------- one worker for each device


def test_each_device_has_a_worker_of_its_own_and_a_killed_one_is_replaced(hosts, submit):
    hosts.start(WORKER_DEVICES="cpu,cpu")
    until(lambda: Worker.objects.filter(state="idle").count() == 2, 40)
    first, second = Worker.objects.filter(state="idle")
    jobs = [submit("stubborn", {"seconds": 1.5}) for _ in range(2)]
    until(lambda: all(is_running(job) for job in jobs))
    assert {now_as(job).worker_id for job in jobs} == {first.pk, second.pk}
    os.kill(first.pid, signal.SIGKILL)
    third = hosts.worker(besides=(first.pid, second.pid))
    assert [is_alive(worker.pid) for worker in (second, third)] == [True, True]
    assert sorted(ends(job, 30).attempt for job in jobs) == [1, 2]


@pytest.mark.parametrize(
    ("wanted", "device", "visible", "devices"),
    [
        (["auto"], "auto", None, [""]),
        (["auto"], "auto", "", [""]),
        (["auto"], "auto", "0", [""]),
        (["auto"], "auto", "2,3", ["cuda:0", "cuda:1"]),
        (["auto"], "auto", "GPU-1,GPU-2,-1,GPU-3", ["cuda:0", "cuda:1"]),
        (["auto"], "cuda", "0,1,2", ["cuda:0", "cuda:1", "cuda:2"]),
        (["auto"], "cpu", "0,1", [""]),
        (["cpu"], "auto", "0,1", ["cpu"]),
        (["cuda:1", "cpu"], "auto", None, ["cuda:1", "cpu"]),
    ],
)
def test_the_devices_that_get_a_worker(monkeypatch, settings, wanted, device, visible, devices):
    settings.WORKER_DEVICES, settings.DEVICE, settings.LOAD_MODELS = wanted, device, True
    monkeypatch.setattr("api.jobs.worker.device_list.machine_gpu_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert worker_devices() == devices


def test_workers_without_models_need_no_device_each(monkeypatch, settings):
    settings.WORKER_DEVICES, settings.LOAD_MODELS = ["auto"], False
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert worker_devices() == [""]


@pytest.mark.parametrize(("gpus", "count"), [(["0000:01:00.0", "0000:02:00.0"], 2), ([], 0)])
def test_gpus_are_counted_by_what_the_driver_lists(monkeypatch, tmp_path, gpus, count):
    for gpu in gpus:
        (tmp_path / gpu).mkdir()
    monkeypatch.setattr("api.jobs.worker.device_list.NVIDIA_GPUS", tmp_path)
    assert cuda_device_count({}) == count


@pytest.mark.parametrize(
    ("listing", "count"), [("GPU 0: A (UUID: GPU-1)\n  MIG 1g\nGPU 1: A (UUID: GPU-2)\n", 2), ("No devices\n", 0)]
)
def test_gpus_are_counted_by_nvidia_smi_where_the_driver_lists_none(monkeypatch, tmp_path, listing, count):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    command.chmod(0o755)
    monkeypatch.setattr("api.jobs.worker.device_list.NVIDIA_GPUS", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cuda_device_count({}) == count


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cpu,auto", "cuda:1;cpu"])
def test_a_device_list_that_names_none_stops_the_start(monkeypatch, value):
    monkeypatch.setenv("WORKER_DEVICES", value)
    with pytest.raises(ImproperlyConfigured, match="WORKER_DEVICES must be"):
        env_devices("WORKER_DEVICES")


def test_the_worker_command_refuses_a_device_that_is_none():
    with pytest.raises(CommandError, match="gpu:1 is no device"):
        call_command("worker", "--device", "gpu:1")
