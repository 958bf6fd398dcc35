"""A worker that was killed with everything around it: who starts later on the same machine hands its rows back, and only its."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from api.jobs import lifecycle, processes
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.metric_definitions import take_grown, workers_lost
from tests.jobs.conftest import ends, now_as, until
from tests.jobs.test_worker_processes import Hosts, is_running

pytestmark = pytest.mark.django_db(transaction=True)
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
TELLS = "import os, sys; from api.jobs.processes import identity; print(os.getpid(), identity(os.getpid()), flush=True); sys.stdin.read()"
ASKS = "import sys; from api.jobs.processes import is_dead; print(is_dead(int(sys.argv[1]), sys.argv[2]))"


@pytest.fixture
def hosts(workers) -> Hosts:
    return Hosts(workers)


def python(program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [*prefix, sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen) -> tuple[int, str]:
    pid, _, identity = process.stdout.readline().strip().partition(" ")
    return int(pid), identity


def test_a_process_is_dead_once_it_was_killed_and_not_before():
    child = python(TELLS)
    pid, identity = told(child)
    assert processes.identity(pid) == identity
    assert not processes.is_dead(pid, identity)
    child.kill()
    until(lambda: processes.is_dead(pid, identity), 5)  # a zombie: its parent, which is this, has not asked for it
    assert processes.exists(pid)
    child.wait()
    assert processes.is_dead(pid, identity)


def test_a_pid_that_another_process_has_now_is_no_sign_of_life():
    place, _, start = processes.identity(os.getpid()).rpartition(" ")
    assert processes.is_dead(os.getpid(), f"{place} {int(start) - 1}")


@pytest.mark.parametrize("part", range(3))
def test_of_another_kernel_and_of_other_namespaces_nothing_is_known(part):
    """The machine with that hostname may be another, or this one before it was started again."""
    known = processes.identity(os.getpid()).split()
    elsewhere = " ".join([*known[:part], known[part][::-1], *known[part + 1 :]])
    assert not processes.is_dead(4_000_000, elsewhere)
    assert processes.is_dead(4_000_000, " ".join(known))


def test_where_proc_tells_nothing_nobody_is_dead(monkeypatch, tmp_path):
    identity = processes.identity(os.getpid())
    processes.place.cache_clear()
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.identity(os.getpid()) == ""
    assert not processes.is_dead(4_000_000, identity)
    assert not processes.is_dead(4_000_000, "")
    processes.place.cache_clear()


def may_unshare() -> bool:
    try:
        return subprocess.run([*CONTAINER, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not may_unshare(), reason="no pid namespace can be made here")
def test_containers_of_one_hostname_say_nothing_of_each_others_processes():
    """Both have the same pids, and neither sees the other's; out here nothing is known of them either."""
    first, second = (python(TELLS, prefix=tuple(CONTAINER)) for _ in range(2))
    (pid, identity), (same, other) = told(first), told(second)
    assert pid == same
    assert identity != other
    judge = python(ASKS, "77", identity, prefix=tuple(CONTAINER))  # there is no such pid
    assert judge.communicate()[0].strip() == "False"
    assert not processes.is_dead(4_000_000, identity)
    for container in (first, second):
        container.communicate()


# ---------------------------------------------------------------- rows


def worker_of(pid: int, process: str, hostname: str = "") -> Worker:
    return Worker.objects.create(hostname=hostname or socket.gethostname(), pid=pid, process=process)


@pytest.fixture
def dead() -> tuple[int, str]:
    child = python("")
    identity = processes.identity(child.pid)
    child.communicate()
    return child.pid, identity


def test_rows_of_dead_workers_are_handed_back_and_nobody_elses(submit, dead):
    pid, identity = dead
    here, there = Worker.State.STARTING, "there"
    elsewhere = f"another-boot {identity.partition(' ')[2]}"
    spared = [
        worker_of(os.getpid(), processes.identity(os.getpid())),  # alive
        worker_of(pid, elsewhere),  # another machine of the same hostname, or another container
        worker_of(pid, identity, there),
        worker_of(pid, ""),  # of a version before this one, or of another system
    ]
    workers = [worker_of(pid, identity), *spared]
    jobs = [submit() for _ in workers]
    claimed = {worker.pk: lifecycle.claim_jobs(worker=worker)[0] for worker in workers}
    asked = submit()
    lost = worker_of(pid, identity)
    assert lifecycle.claim_jobs(worker=lost) == [asked]
    Job.objects.filter(pk=asked.pk).update(cancel_requested_at="2026-01-01T00:00:00Z")
    take_grown()
    assert (lifecycle.release_dead_workers(), lifecycle.release_dead_workers()) == (2, 0)
    assert take_grown()[workers_lost.name, (), ""] == 2
    assert [now_as(claimed[worker.pk]).status for worker in workers] == [Status.QUEUED, *[Status.RUNNING] * 4]
    assert {worker.state for worker in Worker.objects.filter(pk__in=[one.pk for one in spared])} == {here}
    assert now_as(asked).status == Status.CANCELLED
    assert len(jobs) == 5


def test_a_cancel_of_what_a_dead_worker_held_takes_effect_at_once(submit, dead):
    """Asked again as well, where the worker died after it was asked."""
    held, alive, asked = submit(), submit(), submit()
    for job, (pid, identity) in ((held, dead), (alive, (os.getpid(), processes.identity(os.getpid()))), (asked, dead)):
        assert lifecycle.claim_jobs(worker=worker_of(pid, identity)) == [job]
    Job.objects.filter(pk=asked.pk).update(cancel_requested_at="2026-01-01T00:00:00Z")
    cancelled = [lifecycle.cancel_job(job=now_as(job)).status for job in (held, alive, asked)]
    assert cancelled == [Status.CANCELLED, Status.RUNNING, Status.CANCELLED]
    assert [job.events.filter(data__status="cancelled").count() for job in (held, alive, asked)] == [1, 0, 1]


def test_a_server_that_was_killed_whole_goes_on_at_its_next_start(hosts, submit):
    """Long before the leases of 60 s end."""
    host = hosts.start(WORKER_DEVICES="cpu,cpu")
    jobs = [submit("stubborn", {"seconds": 30}), submit("stubborn", {"seconds": 30})]
    until(lambda: all(is_running(job) for job in jobs), 40)
    workers = list(Worker.objects.all())
    host.kill()
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    host.wait()
    until(lambda: all(processes.is_dead(worker.pid, worker.process) for worker in workers), 5)
    assert lifecycle.cancel_job(job=jobs[0]).status == Status.CANCELLED
    assert is_running(jobs[1])
    hosts.start()
    handed_back = until(lambda: now_as(jobs[1]) if now_as(jobs[1]).worker_id is None else None, 10)
    assert handed_back.attempt == 1
    replacement = hosts.worker(besides=tuple(worker.pid for worker in workers))
    until(lambda: now_as(jobs[1]).worker_id == replacement.pk)
    os.kill(replacement.pid, signal.SIGKILL)
    lifecycle.cancel_job(job=jobs[1])
    assert ends(jobs[1], 5).status == Status.CANCELLED
