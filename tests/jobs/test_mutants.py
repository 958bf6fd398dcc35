"""The checks find what they are there to find: with the fence or the atomic claim taken out, they fail."""

import uuid
from collections.abc import Callable

import pytest
from django.db.models import F
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.errors import LeaseLost
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.store import transitions
from tests.jobs.conftest import at_once
from tests.jobs.invariants import broken_promises

pytestmark = pytest.mark.django_db(transaction=True)


def two_attempts_end_one_job(submit: Callable[..., Job], worker: Worker) -> list[str]:
    """A worker loses its lease, another claims and finishes, and then the first one finishes too."""
    submit()
    first = lifecycle.claim_jobs(worker=worker)[0]
    lifecycle.hand_back(job=first, reason="Its worker stopped answering")
    second = lifecycle.claim_jobs(worker=worker)[0]
    for job in (second, first):
        try:
            lifecycle.finish_job(job=job, record=lambda _: {})
        except LeaseLost:
            pass
    return broken_promises()


def claims_of_many_workers(submit: Callable[..., Job]) -> list[uuid.UUID]:
    """The jobs that eight workers believe to be theirs."""
    for _ in range(40):
        submit()
    workers = [Worker.objects.create(hostname="here", pid=number) for number in range(8)]
    claims = at_once([lambda worker=workers[n % 8]: lifecycle.claim_jobs(worker=worker) for n in range(60)], 8)
    return [job.pk for batch in claims if isinstance(batch, list) for job in batch]


def test_the_fence_holds_against_a_late_worker(submit, worker):
    assert two_attempts_end_one_job(submit, worker) == []


def test_without_the_fencing_token_the_checks_fail(submit, worker, monkeypatch):
    def by_id_alone(job: Job, status: str) -> tuple[str, list]:
        return "id = %s", [transitions.stored("id", job.pk)]

    monkeypatch.setattr(transitions, "fence", by_id_alone)
    assert any("ended more than once" in text for text in two_attempts_end_one_job(submit, worker))


def test_the_claim_gives_no_job_to_two(submit):
    claimed = claims_of_many_workers(submit)
    assert len(claimed) == len(set(claimed)) == 40


def test_with_a_claim_that_reads_and_then_saves_the_checks_fail(submit, monkeypatch):
    def read_then_save(*, worker: Worker) -> list[Job]:
        job = Job.objects.filter(status=Status.QUEUED).order_by("-priority", "id").first()
        if job is None:
            return []
        Job.objects.filter(pk=job.pk).update(
            status=Status.RUNNING, attempt=F("attempt") + 1, lease_token=uuid.uuid4(), started_at=Now()
        )
        return [job]

    monkeypatch.setattr(lifecycle, "claim_jobs", read_then_save)
    claimed = claims_of_many_workers(submit)
    assert len(claimed) > len(set(claimed))
