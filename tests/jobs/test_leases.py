"""What happens to the jobs of workers that die, hang or are cut off; by the database's clock."""

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.models import Job, JobEvent, Worker
from api.jobs.states import Status
from api.jobs.worker.endings import start_running
from api.jobs.worker.leases import LeaseKeeper
from api.jobs.worker.retention import clean_history
from api.jobs.worker.sweep import sweep
from tests.jobs.conftest import expire_lease, now_as

pytestmark = pytest.mark.django_db


def test_the_sweep_hands_back_what_lost_its_lease(submit, claim):
    submit()
    expire_lease(job := claim())
    assert sweep() == 1
    job = now_as(job)
    assert (job.status, job.attempt, job.lease_token, job.worker, job.started_at) == (Status.QUEUED, 1, None, None, None)


def test_the_sweep_leaves_a_job_whose_lease_holds(submit, claim):
    submit()
    claim()
    assert sweep() == 0


def test_a_lease_that_was_extended_since_the_sweep_looked_is_left(submit, claim):
    submit()
    job = claim()
    assert lifecycle.hand_back_all([job], "r", if_expired=True) == 0
    assert now_as(job).status == Status.RUNNING


def test_after_an_outage_leases_are_renewed_before_rows_are_handed_back(submit, claim, worker):
    """Else whichever worker is first to reach the database again takes the others' jobs from them, and they are done twice."""
    submit()
    expire_lease(job := claim())
    keeper = LeaseKeeper(worker, dict)
    keeper.hold([start_running(job)])
    keeper.next_heartbeat = time.monotonic() + 60  # it had just been tried, in vain
    keeper.renew_first()
    keeper.turn()
    assert (now_as(job).status, now_as(job).attempt) == (Status.RUNNING, 1)
    assert sweep() == 0  # another's, later


def test_a_row_that_is_let_go_of_is_not_held_by_those_that_were_claimed_with_it(submit, worker):
    for _ in range(2):
        submit("batched")
    kept, dropped = lifecycle.claim_jobs(worker=worker)
    assert kept.lease_token == dropped.lease_token
    for job in (kept, dropped):
        expire_lease(job)
    keeper = LeaseKeeper(worker, dict)
    keeper.hold([start_running(kept)])
    keeper.beat()
    assert sweep() == 1
    assert (now_as(kept).status, now_as(dropped).status) == (Status.RUNNING, Status.QUEUED)


def test_an_extended_lease_lasts_from_then_on(submit, claim, settings):
    submit()
    job = claim()
    settings.JOB_LEASE_SECONDS = 500
    assert lifecycle.extend_leases([job.lease_token]) == 1
    assert now_as(job).lease_expires_at - job.lease_expires_at > timedelta(seconds=400)


def test_leases_follow_the_databases_clock_whatever_the_workers_says(submit, claim, monkeypatch):
    submit()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    job = claim()
    assert sweep() == 0
    assert abs((job.lease_expires_at - job.started_at).total_seconds() - 30) < 1


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 0), (2, 2), (3, 10), (4, 30)])
def test_each_attempt_waits_longer_before_the_next(submit, claim, attempt, seconds):
    submit()
    job = claim()
    Job.objects.filter(pk=job.pk).update(attempt=attempt)
    lifecycle.hand_back(job=job, reason="r")
    wait = Job.objects.annotate(wait=Now()).values_list("available_at", "wait").get(pk=job.pk)
    assert abs((wait[0] - wait[1]).total_seconds() - seconds) < 1


def test_a_job_is_given_up_when_its_attempts_are_used_up(submit, claim):
    submit()
    job = claim()
    Job.objects.filter(pk=job.pk).update(attempt=5)
    lifecycle.hand_back(job=job, reason="The worker ended while it ran this job")
    assert now_as(job).status == Status.FAILED
    assert now_as(job).error == {
        "code": "attempts_exhausted",
        "status": 500,
        "detail": "The worker ended while it ran this job; it was tried 5 times and given up.",
    }


def test_a_worker_that_is_told_to_stop_blames_no_job(submit, claim, worker):
    submit()
    lifecycle.hand_back(job=(job := claim()), reason="r", blameless=True)
    assert (now_as(job).status, now_as(job).attempt) == (Status.QUEUED, 0)
    assert lifecycle.claim_jobs(worker=worker) == [job]


def test_the_rows_of_a_dead_worker_are_handed_back_at_once(submit, claim, worker):
    submit(), submit()
    mine = [claim(), claim()]
    other = Worker.objects.create(hostname="there", pid=2)
    submit()
    theirs = lifecycle.claim_jobs(worker=other)[0]
    assert lifecycle.release_worker(worker.pk) == 2
    assert {now_as(job).status for job in mine} == {Status.QUEUED}
    assert now_as(theirs).status == Status.RUNNING
    assert Worker.objects.get(pk=worker.pk).state == Worker.State.STOPPED


def test_two_sweeps_hand_a_job_back_once(submit, claim):
    submit()
    expire_lease(job := claim())
    assert (sweep(), sweep()) == (1, 0)
    assert job.events.filter(data__status="queued").count() == 2


# ---------------------------------------------------------------- the clock is set back


def set_back(job: Job, worker: Worker) -> None:
    """An hour: what was written before now lies as far ahead."""
    Job.objects.filter(pk=job.pk).update(lease_expires_at=job.lease_expires_at + timedelta(hours=1))
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=Now() + timedelta(hours=1))


def test_a_worker_that_died_as_the_clock_was_set_back_loses_its_job_within_a_lease(submit, claim, worker):
    submit()
    set_back(job := claim(), worker)
    assert sweep() == 0
    assert now_as(job).lease_expires_at - job.lease_expires_at < timedelta(seconds=5)


def test_a_worker_that_lives_as_the_clock_is_set_back_keeps_its_job(submit, claim, worker):
    submit()
    set_back(job := claim(), worker)
    sweep()
    lifecycle.extend_leases([job.lease_token])
    assert sweep() == 0
    assert now_as(job).status == Status.RUNNING
    assert Worker.objects.get(pk=worker.pk).heartbeat_at <= now_as(job).lease_expires_at


def test_a_job_that_began_before_it_was_made_waited_for_nothing(submit, claim):
    submit()
    job = claim()
    job.started_at = job.created_at - timedelta(hours=1)
    assert start_running(job).timings == {"queue": 0.0}


# ----------------------------------------------------------------


def test_a_worker_silent_for_two_leases_is_told_to_have_stopped(worker):
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=Now() - timedelta(seconds=61))
    sweep()
    assert Worker.objects.get(pk=worker.pk).state == Worker.State.STOPPED


def test_old_events_go_however_many_there_are(submit, loop, settings):
    job = submit()
    loop.run_once()
    waiting = submit()
    JobEvent.objects.bulk_create(JobEvent(job=job, sequence=100 + n, type="token", data={}) for n in range(1200))
    JobEvent.objects.update(created_at=Now() - timedelta(hours=25))
    clean_history()
    assert list(JobEvent.objects.values_list("job", flat=True)) == [waiting.pk]


def test_old_jobs_are_kept_unless_the_owner_says_otherwise(submit, loop, settings):
    job, waiting = submit(), submit()
    loop.run_once()
    Job.objects.update(created_at=Now() - timedelta(days=40))
    clean_history()
    assert Job.objects.count() == 2
    settings.JOB_RETENTION_DAYS = 30
    clean_history()
    assert list(Job.objects.all()) == [waiting]
    assert job not in Job.objects.all()
