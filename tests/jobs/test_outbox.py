"""Every way to an end writes one row of the outbox, in the transaction that ends the job, and each reader gets it once."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now

from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.errors import LeaseLost
from api.jobs.models import Job, JobEnding, Worker
from api.jobs.store import outbox
from api.jobs.store.deletion_slices import Slices
from api.jobs.webhooks import Webhook
from tests.jobs.conftest import at_once, expire_lease

pytestmark = pytest.mark.django_db
Claim = Callable[[], Job]
REFUSED = DarkroomError("refused", 422, "No.")


def succeed(claim: Claim) -> None:
    lifecycle.finish_job(job=claim(), result={})


def succeed_with_rows(claim: Claim) -> None:
    lifecycle.finish_job(job=claim(), record=lambda _: {})


def fail(claim: Claim) -> None:
    lifecycle.fail_job(job=claim(), error=REFUSED)


def cancel_queued(claim: Claim) -> None:
    lifecycle.cancel_job(job=Job.objects.get())


def cancel_running(claim: Claim) -> None:
    job = claim()
    lifecycle.cancel_job(job=job)
    lifecycle.acknowledge_cancel(job=job)


def hand_back_when_cancelled(claim: Claim) -> None:
    job = claim()
    lifecycle.cancel_job(job=job)
    lifecycle.hand_back(job=job, reason="It stopped")


def give_up(claim: Claim) -> None:
    Job.objects.update(max_attempts=1)
    lifecycle.hand_back(job=claim(), reason="It stopped")


ENDS = {
    succeed: "succeeded", succeed_with_rows: "succeeded", fail: "failed", give_up: "failed",
    cancel_queued: "cancelled", cancel_running: "cancelled", hand_back_when_cancelled: "cancelled",
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_every_way_to_an_end_writes_one_row(end: Callable[[Claim], None], submit, claim):
    job = submit("noop", model_id="starter", owner_key="bob")
    end(claim)
    ending, now = JobEnding.objects.get(), Job.objects.get()
    assert (ending.job_id, ending.kind, ending.model_id, ending.owner_key) == (job.pk, "noop", "starter", "bob")
    assert (ending.status, ending.created_at, ending.counted) == (ENDS[end], now.finished_at, False)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_webhook_is_kept_with_the_end_until_it_is_dispatched(end: Callable[[Claim], None], submit, claim):
    job = submit(webhook=Webhook("https://example.com/"))
    end(claim)
    ending = JobEnding.objects.get()
    assert (ending.webhook, ending.dispatched) == (job.webhook, False)
    with transaction.atomic():
        assert [row.pk for row in outbox.take_unread("dispatched", [ending.pk, 10**9])] == [ending.pk]
    assert (JobEnding.objects.get().dispatched, JobEnding.objects.get().counted) == (True, False)


def test_where_no_webhook_is_set_there_is_nothing_to_dispatch(submit):
    lifecycle.cancel_job(job=submit())
    assert (JobEnding.objects.get().webhook, JobEnding.objects.get().dispatched) == (None, True)


def test_it_tells_how_long_the_job_ran(submit, claim):
    submit()
    job = claim()
    Job.objects.update(started_at=Now() - timedelta(seconds=100))
    lifecycle.finish_job(job=job, result={})
    assert JobEnding.objects.get().seconds == pytest.approx(100, abs=2)


def test_a_job_that_no_worker_had_begun_ran_for_no_time(submit):
    lifecycle.cancel_job(job=submit())
    assert JobEnding.objects.get().seconds is None


def test_a_job_that_is_handed_back_has_not_ended(submit, claim):
    submit()
    lifecycle.hand_back(job=claim(), reason="It stopped")
    assert not JobEnding.objects.exists()


def test_an_end_that_is_undone_leaves_no_row(submit, claim):
    submit()
    job = claim()
    with transaction.atomic():
        lifecycle.finish_job(job=job, result={})
        transaction.set_rollback(True)
    assert not JobEnding.objects.exists()


def test_it_outlives_the_job(submit):
    job = submit()
    lifecycle.cancel_job(job=job)
    Job.objects.get().delete()
    assert JobEnding.objects.get().job_id == job.pk


@pytest.mark.django_db(transaction=True)
def test_readers_at_the_same_time_get_each_row_once(submit, monkeypatch):
    monkeypatch.setattr(outbox, "CHUNK", 3)
    for _ in range(40):
        lifecycle.cancel_job(job=submit())

    def read_all() -> list[int]:
        taken = []
        while True:
            with transaction.atomic():
                endings = outbox.take_unread("counted")
            if not endings:
                return taken
            taken += [ending.pk for ending in endings]

    taken = [pk for part in at_once([read_all] * 6, 6) for pk in part]
    assert len(taken) == len(set(taken)) == 40


def test_a_reader_that_fails_gets_the_rows_again(submit):
    lifecycle.cancel_job(job=submit())
    with transaction.atomic():
        outbox.take_unread("counted")
        transaction.set_rollback(True)
    with transaction.atomic():
        assert len(outbox.take_unread("counted")) == 1


def test_rows_are_deleted_that_were_read_and_are_old(settings):
    settings.EVENT_RETENTION_HOURS = 1
    known = {"job_id": "0197c0de-0000-7000-8000-000000000000", "kind": "noop", "owner_key": "alice", "status": "failed"}
    for hours, counted, dispatched in [(2, True, True), (2, False, True), (2, True, False), (0, True, True)]:
        JobEnding.objects.create(**known, created_at=Now() - timedelta(hours=hours), counted=counted, dispatched=dispatched)
    outbox.delete_read_endings(Slices())
    left = list(JobEnding.objects.values_list("counted", "dispatched"))
    assert left == [(False, True), (True, False), (True, True)]


def test_a_lost_lease_ends_once(submit, claim, worker: Worker):
    submit()
    first = claim()
    expire_lease(first)
    lifecycle.hand_back(job=first, reason="Its worker stopped answering", if_expired=True)
    lifecycle.finish_job(job=claim(), result={})
    with pytest.raises(LeaseLost):
        lifecycle.finish_job(job=first, result={})
    assert JobEnding.objects.count() == 1
