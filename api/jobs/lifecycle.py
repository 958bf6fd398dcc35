"""Everything that changes a job: submit, claim, finish, fail, cancel, retry, hand back.

Each transition is one UPDATE on (id, status, lease_token) whose row count must be 1, by the database's clock. The same code runs on
SQLite (where transactions begin IMMEDIATE) and on PostgreSQL (where candidates are locked, those that others hold skipped).
"""

import hashlib
import itertools
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
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
from api.jobs.states import ACTIVE, BACKOFF_SECONDS, Status
from api.jobs.store import admission, transitions
from api.jobs.store.durability import atomic_change, atomic_without_sync
from api.jobs.store.fair_order import earliest_start
from api.jobs.store.parents import lock_ancestors, progress_of_children
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
    only_worker_id: uuid.UUID | None = None,
    link: Callable[[Job], None] | None = None,
) -> Job:
    """Commit a row, then wake a worker; `only_worker_id` names the one that it is for.

    `link` runs in the same transaction: by default the kind ties the input files to the job there.
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
        only_worker_id=only_worker_id,
        event_sequence=1,
    )
    job.warnings = list(kind.find_warnings(spec))
    try:
        ensure_free_space()
        with transaction.atomic() if link or idempotency_key else atomic_change():
            if idempotency_key and (earlier := find_same_request(job)):
                return earlier
            job = add(job, spec, max_active, link)
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


def add(job: Job, spec: Spec, max_active: int | None, link: Callable[[Job], None] | None) -> Job:
    """Its row and what is linked to it, in the caller's transaction, which wakes a worker when it is committed."""
    job = admit(job, spec, max_active)
    if link is not None:
        link(job)
    wakeups.notify_workers_on_commit(job.id)
    return job


def admit(job: Job, spec: Spec, max_active: int | None) -> Job:
    """Its row, with the first event; or a DarkroomError where a limit is reached."""
    limits, told = admission.limits_of(job, max_active), [("status", {"status": Status.QUEUED})]
    cost = get_kind(job.kind).cost(spec)
    if (row := admission.add_if_room(job, told, limits, cost)) is not None:
        return row
    with transaction.atomic():  # which holds the locks of `ensure_room`
        admission.ensure_room(job, limits)
        return cast(Job, transitions.add_job(job, told, cost=cost))


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
        only_worker_id=job.only_worker_id,
    )


# ---------------------------------------------------------------- claim and hold


def claim_jobs(
    *,
    worker: Worker,
    besides: Sequence[str] = (),
    is_first: bool = False,
    placement: tuple[str, list[Any]] = ("TRUE", []),
) -> list[Job]:
    """The job whose turn it is (store/fair_order.py), and up to N-1 more with its batch key; [] when nothing waits. All share one new
    lease token.

    Rows never tried come before rows tried before, which wait for that for a bounded time, and are claimed alone: so a job that ends
    its worker takes no neighbours with it, and others wait for one start of a worker. That is why the first claim of a worker
    (`is_first`) is of the newest row never tried, while rows tried before wait: what ended the one before may have its like at the head.
    Jobs with a batch key in `besides` are left: they join a session of this worker (`claim_joining`). `placement`: a condition of the
    rows that this worker takes now (worker/placement.py).
    """
    if transitions.is_queue_empty():  # which takes a tenth of what a claim takes that finds nothing
        return []
    lease = new_lease(worker)
    able, params = runnable(worker, placement)
    untried = f"attempt = 0 AND batch_key NOT IN ({', '.join(['%s'] * len(besides))})" if besides else "attempt = 0"
    with atomic_without_sync():
        jobs: list[Job] = []
        if is_first and tried_rows_wait():
            present = earliest_start(able), params
            jobs = transitions.claim_newest(**lease, only=f"{untried} AND {able}", params=[*besides, *params], start=present)
        jobs = jobs or transitions.claim_turn(
            **lease, only=f"({untried} OR {transitions.is_overdue()}) AND {able}", params=[*besides, *params]
        )
        jobs = jobs or transitions.claim_turn(**lease, only=f"attempt > 0 AND {able}", params=params)
        if not jobs:
            return []
        wakeups.notify_web_after_statement()
        head = jobs[0]
        mates = get_kind(head.kind).batch_limit() - 1
        if head.batch_key and head.attempt == 1 and mates > 0:
            alike: dict[str, Any] = {
                "only": ALIKE,
                "params": [head.kind, head.batch_key],
                "start": ("%s", [head.virtual_start]),
            }
            jobs += transitions.claim_first(**lease, limit=mates, **alike)
    return jobs


def new_lease(worker: Worker) -> dict[str, Any]:
    """What all rows of one claim have in common."""
    lease = {"worker_id": worker.pk, "token": uuid.uuid4(), "lease": settings.JOB_LEASE_SECONDS}
    return {**lease, "beside": wakeups.web_notification_sql()}


def tried_rows_wait() -> bool:
    return Job.objects.filter(status=Status.QUEUED, attempt__gt=0).order_by().exists()


def runnable(worker: Worker, placement: tuple[str, list[Any]] = ("TRUE", [])) -> tuple[str, list[Any]]:
    """The condition of the rows that this worker can run, and its parameters. A kind that nobody knows any more is anybody's to fail."""
    conditions, params = ["(only_worker_id IS NULL OR only_worker_id = %s)"], [transitions.stored("only_worker_id", worker.pk)]
    for name in kind_names() if not settings.LOAD_MODELS else ():
        able = get_kind(name).without_models()
        if able is False:
            conditions.append("kind <> %s")
            params.append(name)
        elif able is not True:
            parameter, values = able
            conditions.append(f"(kind <> %s OR params ->> '{parameter}' IN ({', '.join(['%s'] * len(values))}))")
            params += [name, *values]
    return " AND ".join([*conditions, placement[0]]), [*params, *placement[1]]


def leaving(models: Collection[str], *, but: Sequence[uuid.UUID]) -> tuple[str, list[Any]]:
    """The condition of all rows but those of `models`; of the rows `but` in any case."""
    condition = f"model_id NOT IN ({', '.join(['%s'] * len(models))})"
    if not but:
        return condition, [*models]
    ids = [transitions.stored("id", job_id) for job_id in but]
    return f"({condition} OR id IN ({', '.join(['%s'] * len(ids))}))", [*models, *ids]


def rows_before_others(*, worker: Worker, models: Collection[str]) -> list[uuid.UUID]:
    """Queued rows of `models` that this worker could run, and whose turn comes before any other row's."""
    able, params = runnable(worker)
    head = transitions.head_of_queue(f"attempt = 0 AND {able}", params)
    return [job_id for job_id, _ in itertools.takewhile(lambda row: row[1] in models, head)]


def claim_joining(*, worker: Worker, kind: str, batch_key: str, limit: int) -> list[Job]:
    """Up to `limit` jobs of a batch key that have not been tried yet, for a session that is under way; [] at little cost."""
    alike = Job.objects.filter(status=Status.QUEUED, kind=kind, batch_key=batch_key, attempt=0)
    if limit < 1 or not alike.order_by().exists():
        return []
    able, params = runnable(worker)
    with atomic_without_sync():
        present = earliest_start(able), params
        jobs = transitions.claim_first(**new_lease(worker), limit=limit, only=ALIKE, params=[kind, batch_key], start=present)
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
    changes: dict[str, Any] = {} if progress is None else {"progress": progress}
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
    ends: bool = False,
    sync: bool = True,
    beside: str = "",
    **changes: Any,
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
    job: Job, status: Status, event: transitions.Event | None, *, from_status: Status = Status.RUNNING, **changes: Any
) -> None:
    """To a final state, with its last events and its row in the outbox; inside the caller's transaction.

    Every job that ends passes through here, once. A caller that locks the row before this locks its ancestors first.
    """
    lock_ancestors(job)
    events = [*([event] if event else []), ("status", {"status": status})]
    over: dict[str, Any] = {"finished_at": transitions.clock(), "lease_token": None, "lease_expires_at": None}
    transition(job, from_status, events, exclusive_type="preview", ends=True, status=status, **over, **changes)
    wakeups.notify_web_of_end_on_commit()
    if job.parent_id:
        tell_parent(job.parent_id)


def tell_parent(parent_id: uuid.UUID) -> None:
    """A child has ended in this transaction, which has locked the parent: so the last of several that end at once sees all the others.

    The last one queues the parent again, where it stood before, or ends it where its cancellation was asked for.
    """
    parent = Job.objects.filter(pk=parent_id).first()
    if parent is None or not parent.is_waiting:
        return
    progress = progress_of_children(parent_id)
    if progress["step"] < progress["steps"]:
        transition(parent, Status.RUNNING, [("progress", progress)], progress=progress)
    elif parent.cancel_requested_at:
        end_job(parent, Status.CANCELLED, None, progress=progress)
    else:
        events = [("progress", progress), ("status", {"status": Status.QUEUED, "attempt": parent.attempt})]
        again: dict[str, Any] = {"status": Status.QUEUED, "available_at": transitions.clock()}
        transition(parent, Status.RUNNING, events, progress=progress, **again)
        wakeups.notify_workers_on_commit(parent_id)


# ---------------------------------------------------------------- cancel


def cancel_job(*, job: Job) -> Job:
    """Queued: cancelled at once. Running: asked to stop at its next step. Ended: as it is. Returns the job as it now stands.

    A job that waits passes it on to its children, and is cancelled with the last of them.
    """
    with transaction.atomic():
        lock_ancestors(job)
        now = Job.objects.select_for_update().get(pk=job.pk)  # locked: a hand-back between two looks would hide it from both
        if now.status == Status.QUEUED:
            end_job(now, Status.CANCELLED, None, from_status=Status.QUEUED)
        elif now.status == Status.RUNNING and now.cancel_requested_at is None:
            transition(now, Status.RUNNING, cancel_requested_at=transitions.clock())
            wakeups.notify_lease_keepers_on_commit()
            for child in now.children.filter(status__in=ACTIVE).order_by("pk"):
                cancel_job(job=child)
    return Job.objects.get(pk=job.pk)


# ---------------------------------------------------------------- hand back


def hand_back(*, job: Job, reason: str, blameless: bool = False, if_expired: bool = False) -> None:
    """running → queued after a backoff; → cancelled where that was asked for; → failed when its attempts are used up.

    `blameless`: the worker was told to stop, so this attempt doesn't count and the job is available at once. `if_expired`: only where
    the lease is (still) over. Raises LeaseLost where the row is no longer under the lease of `job`.
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


def fail_jobs_of_ended_workers() -> int:
    """Queued jobs that were for one worker alone, which has ended. Returns how many there were."""
    alive = Worker.objects.exclude(state=Worker.State.STOPPED)
    lost = Job.objects.filter(status=Status.QUEUED, only_worker_id__isnull=False).exclude(only_worker_id__in=alive.values("pk"))
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
