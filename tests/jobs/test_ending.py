"""One final state for each job, by whoever holds its lease and nobody else."""

import threading
import time
import uuid
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from api.errors import DarkroomError
from api.jobs import children, lifecycle
from api.jobs.errors import LeaseLost
from api.jobs.kinds import get_kind
from api.jobs.models import Job
from api.jobs.retry_policy import LONGEST_STORAGE_DELAY, OUTAGE_GAP_SECONDS, StorageOutage
from api.jobs.running import Finished
from api.jobs.states import ACTIVE, FINAL, Status
from tests.jobs.conftest import at_once, expire_lease, now_as

pytestmark = pytest.mark.django_db
ERROR = DarkroomError("refused", 422, "No.")


def finish(job: Job) -> None:
    lifecycle.finish_job(job=job, record=lambda _: {"ok": True}, warnings=["w"], timings={"save": 0.1})


def test_finishing_records_result_warnings_and_timings_and_ends_the_lease(submit, claim):
    submit()
    finish(job := claim())
    job = now_as(job)
    assert (job.status, job.result, job.warnings, job.timings) == (Status.SUCCEEDED, {"ok": True}, ["w"], {"save": 0.1})
    assert (job.lease_token, job.lease_expires_at) == (None, None)
    assert job.finished_at >= job.started_at


def test_failing_records_the_error(submit, claim):
    submit()
    lifecycle.fail_job(job=(job := claim()), error=ERROR)
    assert (now_as(job).status, now_as(job).error) == (Status.FAILED, {"code": "refused", "status": 422, "detail": "No."})


@pytest.mark.parametrize(
    "end",
    [
        finish,
        lambda job: lifecycle.fail_job(job=job, error=ERROR),
        lambda job: lifecycle.acknowledge_cancel(job=job),
        lambda job: lifecycle.hand_back(job=job, reason="r"),
        lambda job: lifecycle.emit_event(job=job, type="token", data={}),
    ],
    ids=["finish", "fail", "acknowledge", "hand_back", "emit"],
)
class TestTheFence:
    def test_an_attempt_without_the_lease_can_do_nothing(self, end, submit, claim):
        submit()
        job = claim()
        Job.objects.filter(pk=job.pk).update(lease_token=uuid.uuid4())
        before = Job.objects.filter(pk=job.pk).values().get()
        with pytest.raises(LeaseLost):
            end(job)
        assert Job.objects.filter(pk=job.pk).values().get() == before

    @pytest.mark.parametrize("final", FINAL)
    def test_a_final_state_is_never_left(self, final, end, submit, claim):
        submit()
        job = claim()
        Job.objects.filter(pk=job.pk).update(status=final)
        with pytest.raises(LeaseLost):
            end(job)
        assert now_as(job).status == final

    def test_a_deleted_job_stays_deleted(self, end, submit, claim):
        submit()
        job = claim()
        Job.objects.filter(pk=job.pk).delete()
        with pytest.raises(LeaseLost):
            end(job)


def test_rows_made_by_a_record_that_fails_are_undone(submit, claim):
    submit()
    job = claim()

    def record(_: Job) -> dict:
        Job.objects.create(kind="noop", owner_key="of the record")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        lifecycle.finish_job(job=job, record=record)
    assert now_as(job).status == Status.RUNNING
    assert not Job.objects.filter(owner_key="of the record").exists()


@pytest.mark.django_db(transaction=True)
def test_finish_fail_cancel_and_hand_back_at_once_give_one_outcome(submit, claim):
    for _ in range(10):
        submit()
        job = claim()
        Job.objects.filter(pk=job.pk).update(max_attempts=1)
        recorded: list[int] = []

        def finish_and_count(job: Job = job, recorded: list[int] = recorded) -> None:
            finish(job)
            recorded.append(1)

        calls = [
            finish_and_count,
            lambda job=job: lifecycle.fail_job(job=job, error=ERROR),
            lambda job=job: lifecycle.hand_back(job=job, reason="r"),
            lambda job=job: lifecycle.cancel_job(job=job),
        ]
        answers = at_once(calls * 3, 12)
        losers = [answer for answer in answers if isinstance(answer, Exception)]
        assert all(isinstance(answer, LeaseLost) for answer in losers), losers
        assert len(losers) == 8  # nine tried to end it, one did; three asked to cancel
        assert now_as(job).status in FINAL
        assert len(recorded) == (now_as(job).status == Status.SUCCEEDED)
        finals = [event.data["status"] for event in job.events.filter(type="status") if event.data["status"] not in ACTIVE]
        assert finals == [now_as(job).status]


@pytest.mark.django_db(transaction=True)
def test_a_cancel_is_heard_even_when_the_job_is_handed_back_at_that_moment(submit, claim):
    for _ in range(15):
        submit()
        job = claim()
        at_once([lambda job=job: lifecycle.hand_back(job=job, reason="r"), lambda job=job: lifecycle.cancel_job(job=job)], 2)
        assert now_as(job).status == Status.CANCELLED


def test_a_finished_job_can_be_told_to_be_this_attempts_own(submit, claim):
    submit()
    job = claim()
    assert not lifecycle.is_recorded(job)
    finish(job)
    assert lifecycle.is_recorded(job)


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="on PostgreSQL only")
@pytest.mark.django_db(transaction=True)
def test_a_commit_that_is_still_under_way_is_waited_for(submit, claim):
    """Its answer was lost: were it taken for undone, its files would be removed, and then its rows be there."""
    submit()
    job, ended = claim(), threading.Event()

    def commit_slowly() -> None:
        with transaction.atomic():
            finish(job)
            ended.set()
            time.sleep(0.5)
        connection.close()

    committing = threading.Thread(target=commit_slowly)
    committing.start()
    ended.wait(10)
    assert lifecycle.is_recorded(job)
    committing.join()


def test_a_job_finished_by_the_next_attempt_is_not_this_ones(submit, claim):
    submit()
    first = claim()
    expire_lease(first)
    lifecycle.hand_back(job=first, reason="r", if_expired=True)
    finish(claim())
    assert not lifecycle.is_recorded(first)


# ---------------------------------------------------------------- what every end has in common


def is_cancelled_in_the_queue(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    lifecycle.cancel_job(job=submit())


def is_cancelled_while_it_runs(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit()
    lifecycle.acknowledge_cancel(job=claim())


def is_cancelled_as_it_is_handed_back(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit()
    lifecycle.cancel_job(job=(job := claim()))
    lifecycle.hand_back(job=job, reason="r")


def is_given_up(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit()
    job = claim()
    Job.objects.update(max_attempts=1)
    lifecycle.hand_back(job=job, reason="r")


def fails(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit()
    lifecycle.fail_job(job=claim(), error=DarkroomError("refused", 422, "No."))


def succeeds(submit: Callable[..., Job], claim: Callable[[], Job]) -> None:
    submit()
    lifecycle.finish_job(job=claim(), result={})


ENDS = [is_cancelled_in_the_queue, is_cancelled_while_it_runs, is_cancelled_as_it_is_handed_back, is_given_up, fails, succeeds]


@pytest.mark.parametrize("end", ENDS)
def test_every_end_passes_through_one_function(submit, claim, monkeypatch, end):
    ended = []
    real = lifecycle.end_job
    for module in (lifecycle.end, lifecycle.cancel, lifecycle.requeue, children):
        monkeypatch.setattr(module, "end_job", lambda job, *rest, **more: ended.append(job.pk) or real(job, *rest, **more))
    end(submit, claim)
    job = Job.objects.get()
    assert job.is_final
    assert ended == [job.pk]


@pytest.mark.parametrize("told", [(), (1,), (1, 2), (2,)])
def test_a_job_that_succeeded_is_done_whatever_it_told_last(submit, loop, monkeypatch, told):
    def run(batch):
        for step in told:
            batch[0].progress(step=step, steps=2, stage="looking")
        yield Finished(batch[0], {})

    monkeypatch.setattr(get_kind("noop"), "run", run)
    job = submit()
    loop.run_once()
    assert now_as(job).progress == {"fraction": 1.0, **({"step": 2, "steps": 2} if told else {})}


@pytest.mark.parametrize("kind", ["noop", "batched", "sleep", "picture", "tokens"])
def test_each_way_to_work_ends_with_all_of_the_progress(submit, loop, kind, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    job = submit(kind, {"steps": 3, "seconds": 0})
    loop.run_once()
    assert now_as(job).progress["fraction"] == 1


def test_an_outage_of_the_storage_is_waited_for_as_long_as_it_has_lasted() -> None:
    outage = StorageOutage()
    assert [outage.delay(now) for now in (1000.0, 1003.0, 1010.0, 1100.0)] == [0.0, 3.0, 10.0, LONGEST_STORAGE_DELAY]
    assert outage.delay(1101.0 + OUTAGE_GAP_SECONDS) == 0.0  # another one
