"""What changes a running job: events, and every way to its end. `end_job` is the only writer of a final state."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.db import transaction

from api.errors import DarkroomError
from api.jobs.errors import LeaseLost
from api.jobs.models import Job
from api.jobs.notify import wakeups
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.store.durability import atomic_change, atomic_without_sync
from api.jobs.store.parents import lock_ancestors, progress_of_children
from api.quotas import Amount


def emit_event(*, job: Job, type: str, data: dict[str, Any], progress: dict[str, Any] | None = None) -> None:
    """One event of a running job; raises LeaseLost when the row is no longer this attempt's. Only the newest preview is kept."""
    changes: dict[str, Any] = {} if progress is None else {"progress": progress}
    with atomic_without_sync():
        exclusive, beside = "preview" if type == "preview" else "", wakeups.step_sql()
        transition(job, Status.RUNNING, [(type, data)], exclusive_type=exclusive, sync=False, beside=beside, **changes)
        wakeups.tell_of_step_after_statement([job])


def transition(
    job: Job,
    from_status: str,
    events: Sequence[transitions.Event] = (),
    *,
    exclusive_type: str = "",
    ends: Amount | None = None,
    sync: bool = True,
    beside: str = "",
    **changes: object,
) -> None:
    """One UPDATE on (id, status, lease_token) with its events, or LeaseLost. See `store.transitions.change` for the options."""
    options: dict[str, Any] = {"exclusive_type": exclusive_type, "ends": ends, "sync": sync, "beside": beside}
    if not transitions.move(job, from_status, changes, events, **options):
        raise LeaseLost(f"{job} is no longer {from_status} under this lease")


def finish_job(
    *,
    job: Job,
    result: dict[str, Any] | None = None,
    record: Callable[[Job], dict[str, Any]] | None = None,
    warnings: Sequence[str] = (),
    timings: dict[str, float] | None = None,
    steps: int = 0,
) -> None:
    """running → succeeded, with `result`, or with the rows that `record` makes and what it returns, in one transaction.

    `steps`: how many it took, by its last progress. Raises LeaseLost (and undoes `record`).
    """
    with transaction.atomic() if record else atomic_end(job):
        lock_ancestors(job)
        if record and not transitions.lock(job, Status.RUNNING):  # before anything is made
            raise LeaseLost(f"{job} is no longer running under this lease")
        job.made = Amount()  # in a transaction before this one, too, it may have been counted
        result = record(job) if record else result
        outcome: dict[str, Any] = {"result": result, "warnings": list(warnings), "timings": timings or {}}
        end_job(job, Status.SUCCEEDED, ("result", {}), has_previews=bool(steps), progress=all_done(steps), **outcome)


def all_done(steps: int) -> dict[str, float]:
    return {"fraction": 1.0, **({"step": steps, "steps": steps} if steps else {})}


def is_recorded(job: Job) -> bool:
    """Whether this very attempt has succeeded. A commit that is under way on a connection that was lost is waited for: it holds the row."""
    with transaction.atomic():
        row = Job.objects.select_for_update().filter(pk=job.pk).values("status", "worker_id", "attempt").first()
    return row == {"status": Status.SUCCEEDED, "worker_id": job.worker_id, "attempt": job.attempt}


def fail_job(*, job: Job, error: DarkroomError, warnings: Sequence[str] = (), timings: dict[str, float] | None = None) -> None:
    """running → failed."""
    with atomic_end(job):
        body = error.to_json()
        end_job(job, Status.FAILED, ("error", body), error=body, warnings=list(warnings), timings=timings or {})


def acknowledge_cancel(*, job: Job) -> None:
    """running → cancelled, once the work has stopped."""
    with atomic_end(job):
        end_job(job, Status.CANCELLED, None)


def atomic_end(job: Job) -> AbstractContextManager[Any]:
    """A child's end changes its parent too."""
    return transaction.atomic() if job.parent_id else atomic_change()


def end_job(
    job: Job,
    status: Status,
    event: transitions.Event | None,
    *,
    from_status: Status = Status.RUNNING,
    has_previews: bool = True,
    **changes: Any,
) -> None:
    """To a final state, with its last events and its row in the outbox; inside the caller's transaction.

    Every job that ends passes through here, once. A caller that locks the row before this locks its ancestors first. Without
    `has_previews` none is looked for: they come with steps.
    """
    lock_ancestors(job)
    events = [*([event] if event else []), ("status", {"status": status})]
    over: dict[str, Any] = {"finished_at": transitions.clock(), "lease_token": None, "lease_expires_at": None}
    previews, made = "preview" if has_previews else "", job.made if status == Status.SUCCEEDED else Amount()
    transition(job, from_status, events, exclusive_type=previews, ends=made, status=status, **over, **changes)
    wakeups.notify_web_of_end_on_commit()
    wakeups.notify_webhooks_on_commit(job)
    if job.parent_id:
        tell_parent(job.parent_id)


def tell_parent(parent_id: uuid.UUID) -> None:
    """A child has ended in this transaction, which has locked the parent: so the last of several that end at once sees all the others.

    The last one queues the parent again, where it stood before, or ends it where its cancellation was asked for.
    """
    progress = progress_of_children(parent_id)
    if (
        progress["step"] < progress["steps"]
    ):  # a row without a lease is moved only while it waits: it needn't be read for each child
        transitions.move(Job(pk=parent_id), Status.RUNNING, {"progress": progress}, [("progress", progress)])
        return
    parent = transitions.find_job(parent_id)
    if parent is None or not parent.is_waiting:
        return
    if parent.cancel_requested_at:
        end_job(parent, Status.CANCELLED, None, progress=progress)
    else:
        events = [("progress", progress), ("status", {"status": Status.QUEUED, "attempt": parent.attempt})]
        again: dict[str, Any] = {"status": Status.QUEUED, "available_at": transitions.clock()}
        transition(parent, Status.RUNNING, events, progress=progress, **again)
        wakeups.notify_workers_on_commit(parent_id)
