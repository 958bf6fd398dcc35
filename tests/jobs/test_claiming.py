"""Who gets which job, and that no two get the same."""

import time
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from tests.jobs.conftest import at_once, now_as

pytestmark = pytest.mark.django_db


def test_nothing_waiting_claims_nothing(worker):
    assert lifecycle.claim_jobs(worker=worker) == []


def test_a_claim_counts_the_attempt_and_takes_a_lease(submit, worker):
    submit()
    job = lifecycle.claim_jobs(worker=worker)[0]
    assert (job.status, job.attempt, job.worker) == (Status.RUNNING, 1, worker)
    assert job.lease_token is not None
    assert timedelta(seconds=28) < job.lease_expires_at - job.started_at <= timedelta(seconds=30.1)


def test_the_oldest_is_claimed_first(submit, claim):
    jobs = [submit() for _ in range(3)]
    assert [claim() for _ in range(3)] == jobs


def test_a_higher_priority_goes_before_age(submit, claim):
    old, urgent = submit(), submit(priority=5)
    assert [claim(), claim()] == [urgent, old]


def test_a_job_is_not_claimed_before_its_time(submit, worker):
    job = submit()
    Job.objects.filter(pk=job.pk).update(available_at=Now() + timedelta(seconds=60))
    assert lifecycle.claim_jobs(worker=worker) == []


def test_jobs_of_one_batch_key_are_claimed_together_up_to_the_kinds_limit(submit, worker):
    jobs = [submit(kind="batched") for _ in range(6)]
    claimed = lifecycle.claim_jobs(worker=worker)
    assert claimed == jobs[:4]
    assert len({job.lease_token for job in claimed}) == 1


def test_the_servers_limit_on_batches_holds_too(submit, worker, settings):
    settings.MAX_BATCH = 2
    [submit(kind="batched") for _ in range(3)]
    assert len(lifecycle.claim_jobs(worker=worker)) == 2


def test_another_batch_key_or_kind_is_left_for_later(submit, worker):
    first = submit(kind="batched", params={"key": "a"})
    submit(kind="batched", params={"key": "b"}), submit(kind="noop")
    assert lifecycle.claim_jobs(worker=worker) == [first]


def test_a_job_without_a_batch_key_is_claimed_alone(submit, worker):
    [submit(kind="noop") for _ in range(2)]
    assert len(lifecycle.claim_jobs(worker=worker)) == 1


def test_a_job_that_was_tried_before_is_claimed_alone(submit, worker):
    jobs = [submit(kind="batched") for _ in range(3)]
    Job.objects.filter(pk=jobs[0].pk).update(attempt=1)
    assert lifecycle.claim_jobs(worker=worker) == [jobs[0]]


def test_a_job_that_was_tried_before_joins_no_batch(submit, worker):
    jobs = [submit(kind="batched") for _ in range(3)]
    Job.objects.filter(pk=jobs[1].pk).update(attempt=1)
    assert lifecycle.claim_jobs(worker=worker) == [jobs[0], jobs[2]]


def test_a_job_of_a_kind_that_is_gone_fails_instead_of_blocking_the_queue(submit, loop):
    lost, next_one = submit(), submit()
    Job.objects.filter(pk=lost.pk).update(kind="gone")
    loop.run_once(), loop.run_once()
    assert now_as(lost).error["code"] == "unknown_kind"
    assert now_as(next_one).status == Status.SUCCEEDED


@pytest.mark.django_db(transaction=True)
def test_many_workers_never_claim_the_same_job(submit):
    jobs = {submit().pk for _ in range(60)}
    workers = [Worker.objects.create(hostname="here", pid=number) for number in range(8)]
    claims = at_once([lambda worker=workers[number % 8]: lifecycle.claim_jobs(worker=worker) for number in range(80)], 8)
    claimed = [job.pk for batch in claims for job in batch]
    assert sorted(claimed) == sorted(jobs)
    assert set(Job.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_a_job_is_either_claimed_or_cancelled_never_both(submit, worker):
    jobs = [submit() for _ in range(50)]
    cancels = [lambda job=job: lifecycle.cancel_job(job=job).status for job in jobs]
    claims = [lambda: [job.pk for job in lifecycle.claim_jobs(worker=worker)]] * 50
    answers = at_once([call for pair in zip(cancels, claims, strict=True) for call in pair])
    claimed = [pk for answer in answers if isinstance(answer, list) for pk in answer]
    cancelled = Job.objects.filter(status=Status.CANCELLED).count()
    assert len(claimed) == len(set(claimed)) == Job.objects.filter(status=Status.RUNNING).count()
    assert len(claimed) + cancelled == 50
    assert Job.objects.filter(status=Status.RUNNING, cancel_requested_at=None).filter(pk__in=[j.pk for j in jobs]).count() <= 50


def test_a_claim_takes_few_queries(submit, worker, django_assert_max_num_queries):
    submit()
    with django_assert_max_num_queries(8):
        lifecycle.claim_jobs(worker=worker)


def test_claims_stay_quick_beside_a_long_history(submit, worker):
    submit()
    Job.objects.bulk_create(Job(kind="noop", owner_key="bob", status=Status.SUCCEEDED) for _ in range(5000))
    started = time.monotonic()
    lifecycle.claim_jobs(worker=worker)
    assert time.monotonic() - started < 0.5
