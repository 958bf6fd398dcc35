"""Claim queued rows for a worker, and extend its leases."""

import itertools
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from api.jobs.kinds import all_kinds, get_kind
from api.jobs.models import Job, Worker
from api.jobs.notify import wakeups
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.fair_order import earliest_start

ALIKE = "batch_key = %s AND attempt = 0"


def claim_jobs(
    *,
    worker: Worker,
    besides: Sequence[str] = (),
    is_first: bool = False,
    is_likely: bool = False,
    placement: tuple[str, list[Any]] = ("TRUE", []),
) -> list[Job]:
    """The job whose turn it is (store/fair_order.py), and up to N-1 more with its batch key; [] when nothing waits. All share one new
    lease token.

    Rows never tried come before rows tried before, which wait for that for a bounded time, and are claimed alone: so a job that ends
    its worker takes no neighbours with it, and others wait for one start of a worker. That is why the first claim of a worker
    (`is_first`) is of the newest row never tried, while rows tried before wait: what ended the one before may have its like at the head.
    Among rows tried before, which a worker's end has left, one that was in a batch with what ended it goes before what did so again:
    the least tried are first, and of those the newest.
    Jobs with a batch key in `besides` are left: they join a session of this worker (`claim_joining`). `placement`: a condition of the
    rows that this worker takes now (worker/placement.py).
    `is_likely`: most likely a job waits, since the two claims before this one found some, or since it was told of one and no other
    worker is there to take it.
    """
    beside = "" if is_likely else wakeups.take_deferred_notification_sql()
    if not is_likely and transitions.is_queue_empty(
        beside=beside
    ):  # which takes a tenth of what a claim takes that finds nothing
        return []
    lease = new_lease(worker)
    able, params = runnable(worker, placement)
    untried = f"attempt = 0 AND {none_of('batch_key', besides)}" if besides else "attempt = 0"
    with atomic_without_sync():
        jobs: list[Job] = []
        if is_first and tried_rows_wait():
            present = earliest_start(able), params
            jobs = transitions.claim_newest(**lease, only=f"{untried} AND {able}", params=[*besides, *params], start=present)
        jobs = jobs or transitions.claim_turn(
            **lease, only=f"({untried} OR {transitions.is_overdue()}) AND {able}", params=[*besides, *params]
        )
        jobs = jobs or transitions.claim_tried(**lease, only=able, params=params)
        if not jobs:
            return []
        head = jobs[0]
        mates = get_kind(head.kind).batch_limit() - 1
        if head.batch_key and head.attempt == 1 and mates > 0:
            alike: dict[str, Any] = {
                "only": ALIKE,
                "params": [head.batch_key],
                "start": ("%s", [head.virtual_start]),
            }
            jobs += transitions.claim_first(**lease, limit=mates, **alike)
        wakeups.tell_of_step_after_statement(jobs)
    return jobs


def new_lease(worker: Worker) -> dict[str, Any]:
    """What all rows of one claim have in common."""
    lease = {"worker_id": worker.pk, "token": uuid.uuid4(), "lease": settings.JOB_LEASE_SECONDS}
    return {**lease, "beside": wakeups.step_sql()}


def tried_rows_wait() -> bool:
    return Job.objects.filter(status=Status.QUEUED, attempt__gt=0).order_by().exists()


def runnable(worker: Worker, placement: tuple[str, list[Any]] = ("TRUE", [])) -> tuple[str, list[Any]]:
    """The condition of the rows that this worker can run, and its parameters. A kind that nobody knows any more is anybody's to fail."""
    conditions, params = ["(only_worker_id IS NULL OR only_worker_id = %s)"], [transitions.stored("only_worker_id", worker.pk)]
    if not settings.LOAD_MODELS:
        condition, values = without_models()
        conditions.append(condition)
        params += values
    return " AND ".join([*conditions, placement[0]]), [*params, *placement[1]]


def without_models() -> tuple[str, list[str]]:
    """The condition of the rows that need no model, with its parameters."""
    limited = [(kind.name, which) for kind in all_kinds() if kind.uses_models and (which := kind.without_models()) is not True]
    given = [(name, which) for name, which in limited if isinstance(which, tuple)]
    parameters = tuple((name, parameter, len(values)) for name, (parameter, values) in given)
    unable = tuple(name for name, which in limited if which is False)
    return kinds_condition(unable, parameters), [value for _, (_, values) in given for value in values]


@lru_cache(maxsize=64)
def kinds_condition(unable: Sequence[str], parameters: Sequence[tuple[str, str, int]]) -> str:
    """No kind of `unable`; of the other kinds named, only rows whose parameter has one of so many values. See `none_of`."""
    cases = [f"WHEN kind = '{name}' THEN FALSE" for name in unable]
    cases += [
        f"WHEN kind = '{name}' THEN params ->> '{parameter}' IN ({', '.join(['%s'] * count)})"
        for name, parameter, count in parameters
    ]
    return f"CASE {' '.join(cases)} ELSE TRUE END" if cases else "TRUE"


def none_of(column: str, values: Collection[Any]) -> str:
    """The condition that a column has none of the values, which are its parameters.

    PostgreSQL takes `NOT IN` for a condition that hardly a row fits, where the column has few values. Then it reads and sorts the whole
    queue for the first row that does. Of a CASE it expects that half of the rows fit.
    """
    return f"CASE WHEN {column} IN ({placeholders(values)}) THEN FALSE ELSE TRUE END"


def placeholders(values: Collection[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def leaving(worker: Worker, models: Collection[str], *, but: Sequence[uuid.UUID]) -> tuple[str, list[object]]:
    """The condition of all rows but those of `models`; of the rows `but`, and of those for this worker alone, in any case."""
    ids = [transitions.stored("id", job_id) for job_id in but]
    conditions = [none_of("model_id", models), "only_worker_id = %s"]
    if ids:
        conditions.append(f"id IN ({placeholders(ids)})")
    return f"({' OR '.join(conditions)})", [*models, transitions.stored("only_worker_id", worker.pk), *ids]


def rows_before_others(*, worker: Worker, models: Collection[str]) -> list[uuid.UUID]:
    """Queued rows of `models` that this worker could run, and whose turn comes before any other row's."""
    able, params = runnable(worker)
    head = transitions.head_of_queue(f"attempt = 0 AND {able}", params)
    return [job_id for job_id, _ in itertools.takewhile(lambda row: row[1] in models, head)]


def claim_joining(*, worker: Worker, batch_key: str, limit: int) -> list[Job]:
    """Up to `limit` jobs of a batch key that have not been tried yet, for a session that is under way; [] at little cost."""
    if limit < 1 or not transitions.is_any_waiting(ALIKE, [batch_key]):
        return []
    able, params = runnable(worker)
    with atomic_without_sync():
        present = earliest_start(able), params
        jobs = transitions.claim_first(**new_lease(worker), limit=limit, only=ALIKE, params=[batch_key], start=present)
        if jobs:
            wakeups.tell_of_step_after_statement(jobs)
        return jobs


def extend_leases(tokens: Sequence[uuid.UUID], job_ids: Sequence[uuid.UUID] | None = None) -> int:
    """`job_ids`: those of the claims that are still held; the others are let go of. None: all."""
    held = Job.objects.filter(lease_token__in=tokens, status=Status.RUNNING)
    held = held if job_ids is None else held.filter(pk__in=job_ids)
    return held.update(lease_expires_at=Now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)) if tokens else 0


def cancelled_ids(tokens: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Jobs under these leases whose cancellation was asked for."""
    held = Job.objects.filter(lease_token__in=tokens, status=Status.RUNNING, cancel_requested_at__isnull=False)
    return set(held.values_list("pk", flat=True)) if tokens else set()
