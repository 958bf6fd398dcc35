"""Hand running jobs back to the queue, by a worker that stops or after one that has died."""

import uuid
from collections.abc import Iterable

from django.db import transaction
from django.db.models.functions import Now

from api.errors import DarkroomError
from api.jobs.errors import LeaseLost
from api.jobs.lifecycle.end import end_job, transition
from api.jobs.models import Job, Worker
from api.jobs.notify import wakeups
from api.jobs.retry_policy import backoff
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.store.parents import lock_ancestors
from api.jobs.store.workers import addressed_to_nobody
from api.metric_definitions import job_handbacks


def hand_back(*, job: Job, reason: str, blameless: bool = False, delay: float | None = None, if_expired: bool = False) -> None:
    """running → queued after a backoff; → cancelled where that was asked for; → failed when its attempts are used up.

    `blameless`: it is no fault of the job's, so this attempt doesn't count and the job is available at once, or after `delay` seconds.
    `if_expired`: only where the lease is (still) over. Raises LeaseLost where the row is no longer under the lease of `job`.
    """
    with transaction.atomic():
        lock_ancestors(job)
        row = Job.objects.select_for_update().filter(pk=job.pk, status=Status.RUNNING, lease_token=job.lease_token)
        if if_expired:
            row = row.filter(lease_expires_at__lt=Now())
        now = row.values("cancel_requested_at", "attempt", "max_attempts").first()
        if now is None:
            raise LeaseLost(f"{job} is no longer running under this lease")
        if now["cancel_requested_at"]:
            return end_job(job, Status.CANCELLED, None)
        if now["attempt"] >= now["max_attempts"] and not blameless:
            error = DarkroomError("attempts_exhausted", 500, f"{reason}; it was tried {now['attempt']} times and given up.")
            return end_job(job, Status.FAILED, ("error", error.to_json()), error=error.to_json())
        job_handbacks.add(job.kind, "tried_again" if not blameless else "stopped" if delay is None else "postponed")
        usual = 0 if blameless else backoff(now["attempt"])
        requeue(job, attempt=now["attempt"] - blameless, delay=usual if delay is None else delay)


def requeue(job: Job, *, attempt: int, delay: float) -> None:
    transition(
        job,
        Status.RUNNING,
        [("status", {"status": Status.QUEUED, "attempt": attempt})],
        exclusive_type="preview",
        status=Status.QUEUED,
        attempt=attempt,
        lease_token=None,
        lease_expires_at=None,
        worker=None,
        started_at=None,
        progress={},
        available_at=transitions.clock(delay),
    )
    wakeups.notify_web_on_commit()
    wakeups.notify_workers_on_commit(job.pk)


def release_worker(worker_id: uuid.UUID) -> int:
    """A worker has died: hand its rows back at once. Returns how many there were."""
    jobs = list(Job.objects.filter(worker_id=worker_id, status=Status.RUNNING))
    Worker.objects.filter(pk=worker_id).update(state=Worker.State.STOPPED, loaded_models=[])
    return hand_back_all(jobs, "The worker ended while it ran this job")


def fail_jobs_of_ended_workers() -> int:
    """Queued jobs that were for one worker alone, which has ended. Returns how many there were."""
    ids = addressed_to_nobody()
    lost = list(Job.objects.filter(pk__in=ids)) if ids else []
    for job in lost:
        error = DarkroomError("worker_gone", 409, "The worker that this job was for has ended.").to_json()
        try:
            with transaction.atomic():
                end_job(job, Status.FAILED, ("error", error), from_status=Status.QUEUED, error=error)
        except LeaseLost:
            pass  # it was cancelled meanwhile
    return len(lost)


def hand_back_all(jobs: Iterable[Job], reason: str, *, if_expired: bool = False) -> int:
    count = 0
    for job in jobs:
        try:
            hand_back(job=job, reason=reason, if_expired=if_expired)
            count += 1
        except LeaseLost:
            pass  # somebody else was quicker
    return count
