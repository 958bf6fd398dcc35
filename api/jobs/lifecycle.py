"""Everything that changes a job: submit, claim, finish, fail, cancel, retry, hand back.

Each transition is one UPDATE on (id, status, lease_token) whose row count must be 1, by the database's clock. The same code runs on
SQLite (where transactions begin IMMEDIATE) and on PostgreSQL (where candidates are locked, those that others hold skipped).
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from api.access.services import limit_of
from api.errors import DarkroomError
from api.jobs.disk import ensure_free_space
from api.jobs.errors import LeaseLost
from api.jobs.kinds import get_kind, kind_names, read_spec
from api.jobs.models import Job, Worker
from api.jobs.notify import wakeups
from api.jobs.states import BACKOFF_SECONDS, Status
from api.jobs.store import admission, transitions
from api.jobs.store.durability import atomic_change, atomic_without_sync
from api.specs import Spec

ALIKE = "kind = %s AND batch_key = %s AND attempt = 0"


# ---------------------------------------------------------------- submit


def submit_job(
    *,
    spec: Spec,
    owner_key: str,
    priority: int = 0,
    idempotency_key: str | None = None,
    body_hash: str = "",
    max_active: int | None = None,
    retry_of: Job | None = None,
    link: Callable[[Job], None] | None = None,
) -> Job:
    """Commit a row, then wake a worker. `link` runs in the same transaction: by default the kind ties the input files to the job there.

    The same idempotency key and body give the job that is there already; another body is an error 422. 429
    when the owner has `max_active` jobs under way, 503 when the queue is full, 507 (DiskFull) when the disk nearly is.
    """
    kind = get_kind(spec.kind)
    link = link or kind.link_inputs(spec)
    job = Job(
        kind=spec.kind,
        params=spec.to_json(),
        owner_key=owner_key,
        model_id=spec.history_model,
        prompt=spec.history_prompt.replace("\x00", ""),
        priority=priority,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        batch_key=spec.batch_key(),
        retry_of=retry_of,
        event_sequence=1,
    )
    job.warnings = list(kind.find_warnings(spec))
    try:
        ensure_free_space()
        with transaction.atomic() if link or idempotency_key else atomic_change():
            if idempotency_key and (earlier := find_same_request(job)):
                return earlier
            job = admit(job, max_active)
            if link is not None:
                link(job)
            wakeups.notify_workers_on_commit(job.id)
    except (IntegrityError, DarkroomError):  # its twin may have been committed meanwhile, and have filled the quota too
        if idempotency_key and (earlier := find_same_request(job)):
            return earlier
        raise
    return job


def find_same_request(job: Job) -> Job | None:
    earlier = Job.objects.filter(owner_key=job.owner_key, idempotency_key=job.idempotency_key).first()
    if earlier is not None and earlier.body_hash != job.body_hash:
        raise DarkroomError(
            "idempotency_key_reused", 422, "This Idempotency-Key was used with another request; take a new one."
        )
    return earlier


def admit(job: Job, max_active: int | None) -> Job:
    """Its row, with the first event; or a DarkroomError where a limit is reached."""
    limits, told = admission.limits_of(job, max_active), [("status", {"status": Status.QUEUED})]
    if (row := admission.add_if_room(job, told, limits)) is not None:
        return row
    with transaction.atomic():  # which holds the locks of `ensure_room`
        admission.ensure_room(job, limits)
        return cast(Job, transitions.add_job(job, told))


def retry_job(*, job: Job, idempotency_key: str | None = None) -> Job:
    """A new job of the same owner with the same resolved parameters (the seeds too), linked to the old one.

    It is refused where a first submission would be, whoever asks for it: by the limit of the owner's key.
    """
    return submit_job(
        spec=read_spec(job),
        owner_key=job.owner_key,
        priority=job.priority,
        idempotency_key=idempotency_key,
        body_hash=hashlib.sha256(f"retry {job.pk}".encode()).hexdigest(),
        max_active=limit_of(job.owner_key),
        retry_of=job,
    )


# ---------------------------------------------------------------- claim and hold


def claim_jobs(*, worker: Worker, besides: Sequence[str] = (), is_first: bool = False) -> list[Job]:
    """The head of the queue, and up to N-1 more with its batch key; [] when nothing waits. All share one new lease token.

    Rows never tried come before rows tried before, which wait for that for a bounded time, and are claimed alone: so a job that ends
    its worker takes no neighbours with it, and others wait for one start of a worker. That is why the first claim of a worker
    (`is_first`) is of the newest row never tried, while rows tried before wait: what ended the one before may have its like at the head.
    Jobs with a batch key in `besides` are left: they join a session of this worker (`claim_joining`).
    """
    lease = new_lease(worker)
    able, params = runnable()
    untried = f"attempt = 0 AND batch_key NOT IN ({', '.join(['%s'] * len(besides))})" if besides else "attempt = 0"
    with atomic_without_sync():
        jobs: list[Job] = []
        if is_first and tried_rows_wait():
            jobs = transitions.claim(**lease, limit=1, only=[f"{untried} AND {able}"], params=[*besides, *params], newest=True)
        tiers = [f"({untried} OR {transitions.is_overdue()}) AND {able}", f"attempt > 0 AND {able}"]
        jobs = jobs or transitions.claim(**lease, limit=1, only=tiers, params=[*besides, *params, *params])
        if not jobs:
            return []
        wakeups.notify_web_after_statement()
        head = jobs[0]
        mates = get_kind(head.kind).batch_limit() - 1
        if head.batch_key and head.attempt == 1 and mates > 0:
            jobs += transitions.claim(**lease, limit=mates, only=[ALIKE], params=[head.kind, head.batch_key])
    return jobs


def new_lease(worker: Worker) -> dict[str, Any]:
    """What all rows of one claim have in common."""
    lease = {"worker_id": worker.pk, "token": uuid.uuid4(), "lease": settings.JOB_LEASE_SECONDS}
    return {**lease, "beside": wakeups.web_notification_sql()}


def tried_rows_wait() -> bool:
    return Job.objects.filter(status=Status.QUEUED, attempt__gt=0).order_by().exists()


def runnable() -> tuple[str, list[Any]]:
    """The condition of the rows that this worker can run, and its parameters. A kind that nobody knows any more is anybody's to fail."""
    conditions, params = ["TRUE"], list[Any]()
    for name in kind_names() if not settings.LOAD_MODELS else ():
        able = get_kind(name).without_models()
        if able is False:
            conditions.append("kind <> %s")
            params.append(name)
        elif able is not True:
            parameter, values = able
            conditions.append(f"(kind <> %s OR params ->> '{parameter}' IN ({', '.join(['%s'] * len(values))}))")
            params += [name, *values]
    return " AND ".join(conditions), params


def claim_joining(*, worker: Worker, kind: str, batch_key: str, limit: int) -> list[Job]:
    """Up to `limit` jobs of a batch key that have not been tried yet, for a session that is under way; [] at little cost."""
    alike = Job.objects.filter(status=Status.QUEUED, kind=kind, batch_key=batch_key, attempt=0)
    if limit < 1 or not alike.order_by().exists():
        return []
    with atomic_without_sync():
        jobs = transitions.claim(**new_lease(worker), limit=limit, only=[ALIKE], params=[kind, batch_key])
        if jobs:
            wakeups.notify_web_after_statement()
        return jobs


def extend_leases(tokens: Sequence[uuid.UUID]) -> int:
    held = Job.objects.filter(lease_token__in=tokens, status=Status.RUNNING)
    return held.update(lease_expires_at=Now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)) if tokens else 0


def cancelled_ids(tokens: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Jobs under these leases whose cancellation was asked for."""
    held = Job.objects.filter(lease_token__in=tokens, status=Status.RUNNING, cancel_requested_at__isnull=False)
    return set(held.values_list("pk", flat=True)) if tokens else set()


# ---------------------------------------------------------------- while it runs


def emit_event(*, job: Job, type: str, data: dict[str, Any], progress: dict[str, Any] | None = None) -> None:
    """One event of a running job; raises LeaseLost when the row is no longer this attempt's. Only the newest preview is kept."""
    changes = {} if progress is None else {"progress": progress}
    with atomic_without_sync():
        exclusive, beside = "preview" if type == "preview" else "", wakeups.web_notification_sql()
        transition(job, Status.RUNNING, [(type, data)], exclusive_type=exclusive, sync=False, beside=beside, **changes)
        wakeups.notify_web_after_statement()


def transition(
    job: Job,
    from_status: str,
    events: Sequence[transitions.Event] = (),
    *,
    exclusive_type: str = "",
    sync: bool = True,
    beside: str = "",
    **changes: Any,
) -> None:
    """One UPDATE on (id, status, lease_token) with its events, or LeaseLost. See `store.transitions.change` for the options."""
    options: dict[str, Any] = {"exclusive_type": exclusive_type, "sync": sync, "beside": beside}
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
    with transaction.atomic() if record else atomic_change():
        if record and not transitions.lock(job, Status.RUNNING):  # before anything is made
            raise LeaseLost(f"{job} is no longer running under this lease")
        result = record(job) if record else result
        told: dict[str, Any] = {"result": result, "warnings": list(warnings), "timings": timings or {}}
        end_job(job, Status.SUCCEEDED, ("result", {}), progress=all_done(steps), **told)


def all_done(steps: int) -> dict[str, float]:
    return {"fraction": 1.0, **({"step": steps, "steps": steps} if steps else {})}


def is_recorded(job: Job) -> bool:
    """Whether this very attempt has succeeded."""
    mine = {"worker_id": job.worker_id, "attempt": job.attempt}
    return Job.objects.filter(pk=job.pk, status=Status.SUCCEEDED, **mine).exists()


def fail_job(*, job: Job, error: DarkroomError, warnings: Sequence[str] = (), timings: dict[str, float] | None = None) -> None:
    """running → failed."""
    with atomic_change():
        body = error.to_json()
        end_job(job, Status.FAILED, ("error", body), error=body, warnings=list(warnings), timings=timings or {})


def acknowledge_cancel(*, job: Job) -> None:
    """running → cancelled, once the work has stopped."""
    with atomic_change():
        end_job(job, Status.CANCELLED, None)


def end_job(
    job: Job, status: Status, event: transitions.Event | None, *, from_status: Status = Status.RUNNING, **changes: Any
) -> None:
    """To a final state, with its last events; inside the caller's transaction. Every job that ends passes through here, once."""
    events = [*([event] if event else []), ("status", {"status": status})]
    over: dict[str, Any] = {"finished_at": transitions.clock(), "lease_token": None, "lease_expires_at": None}
    transition(job, from_status, events, exclusive_type="preview", status=status, **over, **changes)
    wakeups.notify_web_of_end_on_commit()


# ---------------------------------------------------------------- cancel


def cancel_job(*, job: Job) -> Job:
    """Queued: cancelled at once. Running: asked to stop at its next step. Ended: as it is. Returns the job as it now stands."""
    with transaction.atomic():
        now = Job.objects.select_for_update().get(pk=job.pk)  # locked: a hand-back between two looks would hide it from both
        if now.status == Status.QUEUED:
            end_job(now, Status.CANCELLED, None, from_status=Status.QUEUED)
        elif now.status == Status.RUNNING and now.cancel_requested_at is None:
            transition(now, Status.RUNNING, cancel_requested_at=transitions.clock())
            wakeups.notify_lease_keepers_on_commit()
    return Job.objects.get(pk=job.pk)


# ---------------------------------------------------------------- hand back


def hand_back(*, job: Job, reason: str, blameless: bool = False, if_expired: bool = False) -> None:
    """running → queued after a backoff; → cancelled where that was asked for; → failed when its attempts are used up.

    `blameless`: the worker was told to stop, so this attempt doesn't count and the job is available at once. `if_expired`: only where
    the lease is (still) over. Raises LeaseLost where the row is no longer under the lease of `job`.
    """
    with transaction.atomic():
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
        requeue(job, attempt=now["attempt"] - blameless, delay=0 if blameless else backoff(now["attempt"]))


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


def backoff(attempt: int) -> float:
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1]


def release_worker(worker_id: uuid.UUID) -> int:
    """A worker has died: hand its rows back at once. Returns how many there were."""
    jobs = list(Job.objects.filter(worker_id=worker_id, status=Status.RUNNING))
    Worker.objects.filter(pk=worker_id).update(state=Worker.State.STOPPED, loaded_models=[])
    return hand_back_all(jobs, "The worker ended while it ran this job")


def hand_back_all(jobs: Iterable[Job], reason: str, *, if_expired: bool = False) -> int:
    count = 0
    for job in jobs:
        try:
            hand_back(job=job, reason=reason, if_expired=if_expired)
            count += 1
        except LeaseLost:
            pass  # somebody else was quicker
    return count
