"""A job that waits for its children, where they end at once, where statements fail, and where workers are killed."""

import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from api.errors import DarkroomError
from api.jobs import children, lifecycle
from api.jobs.children import wait_for_children
from api.jobs.errors import LeaseLost
from api.jobs.models import Job, JobEnding, JobEvent, Worker
from api.jobs.running import ChildJob, Waiting
from api.jobs.states import FINAL, Status
from api.jobs.worker.endings import end, start_running
from tests.jobs.conftest import Workers, at_once, ends, now_as, until
from tests.jobs.parents import Submit, assert_complete, assert_settled, run_all, run_batches, states, times_queued

pytestmark = pytest.mark.django_db


# ---------------------------------------------------------------- at once, and interrupted


def claimed_children(submit: Submit, count: int) -> tuple[Job, list[Job]]:
    """A parent that waits, and its children, each under a lease of its own."""
    worker = Worker.objects.create(hostname="here", pid=2)
    parent = submit("parent")
    wait_for_children(job=lifecycle.claim_jobs(worker=worker)[0], children=[ChildJob("noop", {})] * count)
    return parent, [lifecycle.claim_jobs(worker=worker)[0] for _ in range(count)]


WAYS: list[Callable[[Job], Any]] = [
    lambda job: lifecycle.finish_job(job=job, result={}),
    lambda job: lifecycle.finish_job(job=job, record=lambda _: {}),
    lambda job: lifecycle.fail_job(job=job, error=DarkroomError("refused", 422, "No.")),
    lambda job: lifecycle.acknowledge_cancel(job=job),
]


@pytest.mark.django_db(transaction=True)
def test_children_that_end_at_once_queue_their_parent_once(submit: Submit):
    for turn in range(12):
        parent, running = claimed_children(submit, 6)
        results = at_once([lambda n=n, job=job: WAYS[(turn + n) % len(WAYS)](job) for n, job in enumerate(running)], 6)  # noqa: B023
        assert results == [None] * 6
        assert (now_as(parent).status, times_queued(parent)) == (Status.QUEUED, 2)
        lifecycle.cancel_job(job=parent)
    assert_settled()


@pytest.mark.django_db(transaction=True)
def test_a_cancel_while_children_end_leaves_nothing_open(submit: Submit):
    for turn in range(12):
        parent, running = claimed_children(submit, 4)
        calls = [lambda job=job: lifecycle.finish_job(job=job, record=lambda _: {}) for job in running]
        calls.insert(turn % 5, lambda: lifecycle.cancel_job(job=parent))  # noqa: B023
        assert [result for result in at_once(calls, 5) if isinstance(result, Exception)] == []
        lifecycle.cancel_job(job=parent)  # it may have been queued before it was cancelled
        assert now_as(parent).status == Status.CANCELLED
    assert_settled()


@pytest.mark.django_db(transaction=True)
def test_a_child_that_is_swept_while_its_sibling_ends_holds_nothing_up(submit: Submit):
    for _ in range(8):
        parent, running = claimed_children(submit, 4)
        Job.objects.filter(parent=parent).update(max_attempts=1)
        calls = [lambda job=job: WAYS[1](job) for job in running[:2]]
        calls += [lambda job=job: lifecycle.hand_back(job=job, reason="It stopped") for job in running[2:]]
        assert at_once(calls, 4) == [None] * 4
        assert (now_as(parent).status, times_queued(parent)) == (Status.QUEUED, 2)
        lifecycle.cancel_job(job=parent)
    assert_settled()


class FailAt:
    """Lets so many statements through; the connection is lost at the next."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.left == 0:
            raise OperationalError("The connection was lost")
        self.left -= 1
        return execute(sql, params, many, context)


def everything() -> list[Any]:
    rows = [list(model.objects.order_by("pk").values()) for model in (Job, JobEvent, JobEnding)]
    return [[{**row, "id": row["id"] if "kind" in row else 0} for row in part] for part in rows]


def fail_at_each_statement(do: Callable[[], Any]) -> int:
    """`do`, with the connection lost at its first statement, at its second … until it succeeds; what failed has changed nothing."""
    for number in range(200):
        before = everything()
        try:
            with connection.execute_wrapper(FailAt(number)):
                do()
        except OperationalError:
            assert everything() == before
        else:
            return number
    pytest.fail("It never succeeded.")


@pytest.mark.django_db(transaction=True)
def test_a_wait_that_is_interrupted_at_any_statement_has_submitted_nothing(submit: Submit, claim):
    submit("parent")
    job = claim()
    statements = fail_at_each_statement(lambda: wait_for_children(job=job, children=[ChildJob("noop", {})] * 3))
    assert statements > 5
    assert states(job) == ["queued"] * 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_the_last_childs_end_is_all_or_nothing(submit: Submit, way):
    parent, (first, last) = claimed_children(submit, 2)
    fail_at_each_statement(lambda: WAYS[way](first))
    assert now_as(parent).is_waiting
    fail_at_each_statement(lambda: WAYS[way](last))
    assert (now_as(parent).status, times_queued(parent)) == (Status.QUEUED, 2)


@pytest.mark.django_db(transaction=True)
def test_a_cancel_is_all_or_nothing(submit: Submit, claim):
    submit("parent")
    job = claim()
    wait_for_children(job=job, children=[ChildJob("noop", {})] * 3)
    fail_at_each_statement(
        transaction.atomic(lambda: lifecycle.cancel_job(job=job))
    )  # with its last read, of how the job stands
    assert_settled()


def test_a_late_worker_submits_no_children(submit: Submit, claim):
    submit("parent")
    late = claim()
    lifecycle.hand_back(job=late, reason="Its worker stopped answering")
    with pytest.raises(LeaseLost):
        wait_for_children(job=late, children=[ChildJob("noop", {})])
    end(Waiting(running := start_running(late), [ChildJob("noop", {})]))
    assert running.ended
    assert states(late) == []


def test_what_a_kind_does_wrong_with_a_child_fails_the_parent(submit: Submit, loop, monkeypatch):
    def broken(*_: Any) -> Job:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(children, "submit_child", broken)
    parent = submit("parent")
    run_all(loop)
    assert now_as(parent).error["code"] == "internal_error"
    assert_settled()


def test_a_worker_that_is_told_to_stop_hands_the_second_half_on(submit: Submit, loop):
    parent = submit("parent", {"count": 2})
    run_batches(loop, 3)
    job = lifecycle.claim_jobs(worker=loop.worker)[0]
    lifecycle.hand_back(job=job, reason="It was told to stop", blameless=True)
    run_all(loop)
    assert_complete(parent, 2)
    assert len(start_running(now_as(parent)).children) == 2


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's transactions hold the whole database")
@pytest.mark.django_db(transaction=True)
def test_without_the_lock_on_the_parent_the_checks_fail(submit: Submit, monkeypatch):
    for module in (lifecycle.end, lifecycle.cancel, lifecycle.requeue):
        monkeypatch.setattr(module, "lock_ancestors", lambda job: None)
    stuck = 0
    for _ in range(20):
        parent, running = claimed_children(submit, 4)
        at_once([lambda job=job: WAYS[1](job) for job in running], 4)
        stuck += now_as(parent).status != Status.QUEUED
    assert stuck


# ---------------------------------------------------------------- killed at each point


def kill(worker: subprocess.Popen[bytes]) -> None:
    """With SIGKILL; then what its supervisor does."""
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    lifecycle.release_worker(Worker.objects.get(pid=worker.pid).pk)


def ended_children(parent: Job) -> int:
    return parent.children.filter(status__in=FINAL).count()


POINTS: dict[str, Callable[[Job], bool]] = {
    "before it waits": lambda parent: now_as(parent).status == Status.RUNNING and not now_as(parent).is_waiting,
    "with its first child": lambda parent: parent.children.filter(status=Status.RUNNING).exists(),
    "with its eighth child": lambda parent: ended_children(parent) == 7,
    "with its last child": lambda parent: ended_children(parent) == 19,
    "after its children": lambda parent: ended_children(parent) == 20,
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed_loses_doubles_and_blocks_nothing(workers: Workers, submit: Submit, point):
    child = {"child": "sleep", "child_params": {"seconds": 0.1}}
    first = workers.start()
    parent = submit("parent", {"count": 20, "seconds": 0.3, **child})
    until(lambda: POINTS[point](parent))
    kill(first)
    workers.start()
    ends(parent, 60)
    assert_complete(parent, 20)
    assert states(parent) == ["succeeded"] * 20


@pytest.mark.slow
def test_two_workers_share_a_parents_children(workers: Workers, submit: Submit):
    workers.start()
    workers.start()
    parents = [submit("parent", {"count": 20, "child": child}) for child in ("noop", "batched", "refuse")]
    for parent in parents:
        ends(parent, 60)
        assert_complete_alone(parent)
    assert_settled()


def assert_complete_alone(parent: Job) -> None:
    assert (now_as(parent).status, len(now_as(parent).result["children"])) == (Status.SUCCEEDED, 20)
    assert times_queued(parent) == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["crash_before", "crash_after"])
def test_a_half_that_ends_its_worker_pays_for_itself_alone(workers: Workers, submit: Submit, where):
    first = workers.start()
    parent = submit("parent", {"count": 3, where: 1})
    first.wait(20)
    lifecycle.release_worker(Worker.objects.get(pid=first.pid).pk)
    workers.start()
    assert ends(parent).attempt == (1 if where == "crash_before" else 2)
    assert_complete(parent, 3)
