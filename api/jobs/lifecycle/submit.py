"""Submit and retry: a request becomes a row."""

import hashlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from django.db import IntegrityError, transaction

from api import tracing
from api.access.scopes import GENERAL_LIMITS, OwnerLimits
from api.access.services import limits_of
from api.errors import DarkroomError
from api.jobs.disk import ensure_free_space
from api.jobs.errors import is_foreign_key_missing
from api.jobs.kinds import get_kind, read_spec
from api.jobs.models import Job
from api.jobs.notify import wakeups
from api.jobs.states import Status
from api.jobs.store import admission, transitions, usage
from api.jobs.store.durability import atomic_change
from api.jobs.store.fair_order import SlotTerms
from api.jobs.submission_checks import check_submission
from api.jobs.webhooks import Webhook, default_webhook
from api.metric_definitions import jobs_submitted
from api.quotas import Amount
from api.specs import Spec

FIRST_EVENT: list[transitions.Event] = [("status", {"status": Status.QUEUED})]


def submit_job(
    *,
    spec: Spec,
    owner_key: str,
    source: str = "",
    priority: int = 0,
    idempotency_key: str | None = None,
    body_hash: str = "",
    limits: OwnerLimits = GENERAL_LIMITS,
    retry_of: Job | None = None,
    only_worker_id: uuid.UUID | None = None,
    link: Callable[[Job], None] | None = None,
    warnings: Iterable[str] = (),
    webhook: Webhook | None = None,
    origin: str = "",
) -> Job:
    """Commit a row, then wake a worker; `only_worker_id` names the one that it is for.

    `source`: the API, page or command by which it came, as the history names it. `link` runs in the same transaction: by default the
    kind ties the input files to the job there. `webhook`: where its events are sent; where None, its owner's default. `origin`: see
    Webhook. The same idempotency key and body give the job that is there already; another body is an error 422. 429 when the owner has
    as many jobs under way as its `limits` allow, or the job is more than its quotas leave; 503 when the queue is full, 507 (DiskFull)
    when the disk nearly is.
    """
    webhook = webhook or default_webhook(owner_key)
    job = new_row(
        spec,
        warnings,
        owner_key=owner_key,
        source=source,
        webhook=webhook and replace(webhook, origin=webhook.origin or origin).to_json(),
        priority=priority,
        idempotency_key=idempotency_key,
        body_hash=body_hash,
        retry_of=retry_of,
        only_worker_id=only_worker_id,
    )
    try:
        ensure_free_space()
        return commit(job, spec, limits, check_submission(job, spec, link or get_kind(spec.kind).link_inputs(spec)))
    except (
        IntegrityError,
        DarkroomError,
    ) as error:  # its twin may have been committed meanwhile, and have filled the quota too
        if idempotency_key and (earlier := find_same_request(job)):
            return earlier
        if is_foreign_key_missing(error):  # of the job that is tried again, or an input picture
            detail = "What this request names was deleted at the same moment."
            raise DarkroomError("deleted_meanwhile", 409, detail) from None
        raise


def new_row(spec: Spec, warnings: Iterable[str], **columns: Any) -> Job:
    """Not saved yet. `warnings`: beside those that the kind has of the request."""
    kind = get_kind(spec.kind)
    job = Job(
        kind=spec.kind,
        params=spec.to_json(),
        trace_parent=tracing.traceparent(),
        model_id=spec.history_model,
        prompt=spec.history_prompt.replace("\x00", ""),
        batch_key=kind.batch_key(spec),
        event_sequence=1,
        **columns,
    )
    job.warnings = list(dict.fromkeys([*warnings, *kind.find_warnings(spec)]))
    return job


def commit(job: Job, spec: Spec, limits: OwnerLimits, link: Callable[[Job], None] | None) -> Job:
    """The row, or the one that is there already under its idempotency key."""
    asked = expect(job, spec) if limits.quotas else None
    with transaction.atomic() if link or job.idempotency_key or asked else atomic_change():
        if job.idempotency_key and (earlier := find_same_request(job)):
            return earlier
        if asked:
            usage.lock_owner(job.owner_key)
            usage.ensure_within(job.owner_key, limits.quotas, asked)
        row = add(job, spec, limits, link)
    jobs_submitted.add(job.kind, job.source)
    return row


def expected(spec: Spec) -> Amount:
    """What a job will use, its children too."""
    kind = get_kind(spec.kind)
    return kind.expected(spec).plus(kind.expected_children(spec))


def expect(job: Job, spec: Spec) -> Amount:
    """What it will use; its row says so from now on, and so reserves it."""
    amount = expected(spec)
    for name, value in usage.expected_columns(amount).items():
        setattr(job, name, value)
    return amount


def find_same_request(job: Job) -> Job | None:
    earlier = Job.objects.filter(owner_key=job.owner_key, idempotency_key=job.idempotency_key).first()
    if earlier is not None and earlier.body_hash != job.body_hash:
        raise DarkroomError(
            "idempotency_key_reused", 422, "This Idempotency-Key was used with another request; take a new one."
        )
    return earlier


def add(job: Job, spec: Spec, owner: OwnerLimits, link: Callable[[Job], None] | None) -> Job:
    """Its row and what is linked to it, in the caller's transaction, which wakes a worker when it is committed."""
    return follow_up(admit(job, spec, owner), link)


def add_child(job: Job, spec: Spec, owner: OwnerLimits, link: Callable[[Job], None] | None) -> Job:
    """As `add`. It is not refused for a limit, since its parent was let in: it counts, and waits for its turn."""
    row = transitions.add_job(job, FIRST_EVENT, **slot_of(job, spec, owner))
    return follow_up(cast(Job, row), link)


def follow_up(job: Job, link: Callable[[Job], None] | None) -> Job:
    if link is not None:
        link(job)
    wakeups.notify_workers_on_commit(job.id)
    return job


def admit(job: Job, spec: Spec, owner: OwnerLimits) -> Job:
    """Its row, with the first event; or a DarkroomError where a limit is reached."""
    children, slot = get_kind(job.kind).child_count(spec), slot_of(job, spec, owner)
    limits = admission.limits_of(job, owner.max_active_jobs, children)
    if (row := admission.add_if_room(job, FIRST_EVENT, limits, slot)) is not None:
        return row
    with transaction.atomic():  # which holds the locks of `ensure_room`
        admission.ensure_room(job, limits, children)
        return cast(Job, transitions.add_job(job, FIRST_EVENT, **slot))


def slot_of(job: Job, spec: Spec, owner: OwnerLimits) -> SlotTerms:
    return {"cost": get_kind(spec.kind).cost(spec) / owner.weight, "goes_first": owner.goes_first and job.priority > 0}


def retry_job(*, job: Job, idempotency_key: str | None = None) -> Job:
    """A new job of the same owner with the same resolved parameters (the seeds too), linked to the old one.

    It is refused where a first submission would be, whoever asks for it: by the limit of the owner's key.
    """
    return submit_job(
        spec=read_spec(job),
        owner_key=job.owner_key,
        source=job.source,
        priority=job.priority,
        idempotency_key=idempotency_key,
        body_hash=hashlib.sha256(f"retry {job.pk}".encode()).hexdigest(),
        limits=limits_of(job.owner_key),
        retry_of=job,
        only_worker_id=job.only_worker_id,
        webhook=Webhook.from_json(job.webhook) if job.webhook else None,
    )
