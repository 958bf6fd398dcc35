"""A cancel, at each point of a job's life."""

import pytest

from api.jobs import lifecycle
from api.jobs.models import Job
from api.jobs.running import RunningJob
from api.jobs.states import Status
from api.jobs.worker.endings import start_running, stop_remaining
from tests.jobs.conftest import now_as

pytestmark = pytest.mark.django_db


def test_a_queued_job_is_cancelled_at_once(submit, worker):
    job = lifecycle.cancel_job(job=submit())
    assert job.status == Status.CANCELLED
    assert job.finished_at is not None
    assert lifecycle.claim_jobs(worker=worker) == []


def test_a_running_job_is_asked_to_stop(submit, claim):
    submit()
    job = lifecycle.cancel_job(job=claim())
    assert job.status == Status.RUNNING
    assert job.cancel_requested_at is not None
    assert lifecycle.cancelled_ids([job.lease_token]) == {job.pk}


def test_asking_twice_changes_nothing(submit, claim):
    submit()
    first = lifecycle.cancel_job(job=claim())
    assert lifecycle.cancel_job(job=first).cancel_requested_at == first.cancel_requested_at


def test_an_ended_job_stays_as_it_is(submit, loop):
    job = submit()
    loop.run_once()
    assert lifecycle.cancel_job(job=job).status == Status.SUCCEEDED


def test_a_job_that_stops_when_asked_is_cancelled(submit, loop, monkeypatch):
    job = submit("sleep", {"steps": 5, "seconds": 0.06})
    progress = RunningJob.progress

    def cancel_at_the_second_step(run: RunningJob, *, step: int, **rest: object) -> None:
        progress(run, step=step, **rest)
        if step == 2:
            lifecycle.cancel_job(job=run.job)
            loop.keeper.turn()

    monkeypatch.setattr(RunningJob, "progress", cancel_at_the_second_step)
    loop.run_once()
    assert now_as(job).status == Status.CANCELLED
    assert now_as(job).progress["step"] == 2


def test_a_job_handed_back_after_a_cancel_is_cancelled_not_run_again(submit, claim):
    submit()
    job = claim()
    lifecycle.cancel_job(job=job)
    lifecycle.hand_back(job=job, reason="r")
    assert now_as(job).status == Status.CANCELLED


def test_a_cancel_that_comes_too_late_leaves_the_result(submit, claim):
    submit()
    job = claim()
    lifecycle.cancel_job(job=job)
    lifecycle.finish_job(job=job, record=lambda _: {})
    assert now_as(job).status == Status.SUCCEEDED


def test_the_cancelled_tell_their_watchers_the_state_alone(submit, claim):
    submit()
    lifecycle.acknowledge_cancel(job=(job := claim()))
    assert list(job.events.values_list("data__status", flat=True)) == ["queued", "running", "cancelled"]


def test_cancelling_one_of_a_batch_hands_the_others_back_unblamed_when_the_kind_stops(submit, loop, worker):
    jobs = [submit("batched"), submit("batched")]
    claimed = lifecycle.claim_jobs(worker=worker)
    batch = [start_running(job) for job in claimed]
    batch[0].cancel_asked.set()
    stop_remaining(batch)
    assert [now_as(job).status for job in jobs] == [Status.CANCELLED, Status.QUEUED]
    assert Job.objects.get(pk=jobs[1].pk).attempt == 0
