"""A job that asks for others: it leaves its worker, and is queued again when the last of them has ended (lifecycle/end.py)."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import transaction

from api.access.scopes import OwnerLimits
from api.access.services import limits_of
from api.errors import DarkroomError
from api.jobs.disk import ensure_free_space
from api.jobs.errors import LeaseLost
from api.jobs.kinds import get_kind, read_spec
from api.jobs.lifecycle import add_child, end_job, expect, expected, new_row, transition
from api.jobs.models import Job
from api.jobs.notify import wakeups
from api.jobs.running import ChildJob
from api.jobs.states import Status
from api.jobs.store import usage
from api.jobs.store.parents import lock_ancestors, progress_of_children
from api.jobs.store.transitions import Event, clock
from api.jobs.submission_checks import Link, check_submission
from api.metric_definitions import jobs_submitted
from api.quotas import Amount
from api.specs import Spec

Submitted = Sequence[Job | DarkroomError]
"""A row for each child, or why there is none."""
Record = Callable[[Submitted], Sequence[Event]]


def wait_for_children(
    *,
    job: Job,
    children: Sequence[ChildJob],
    record: Record | None = None,
    goes_without: bool = False,
    warnings: Sequence[str] = (),
    timings: dict[str, float] | None = None,
) -> None:
    """The job leaves its worker, and `children` are submitted for its owner, in one transaction; → cancelled where that was asked for.

    Its attempts are counted anew: they were for what is done now. The children count against the owner's limit and wait for their turns:
    none is refused for it. `record`, `goes_without`: see Waiting; where no child is left, the job is queued at once. Raises LeaseLost, and
    DarkroomError where a child is no request of its kind, the disk is nearly full, or a quota has no room for what the parent has not
    reserved.
    """
    with transaction.atomic():
        lock_ancestors(job)
        row = Job.objects.select_for_update().filter(pk=job.pk, status=Status.RUNNING, lease_token=job.lease_token)
        now = row.values("cancel_requested_at").first()
        if now is None:
            raise LeaseLost(f"{job} is no longer running under this lease")
        if now["cancel_requested_at"]:
            return end_job(job, Status.CANCELLED, None)
        owner = limits_of(job.owner_key)
        if goes_without and owner.quotas:
            own, placed = {}, submit_those_that_fit(job, children, owner)
        else:
            own = hand_down_quota(job, children, owner)
            placed = [submit_child(job, child, owner) for child in children]
        rows = [row for row in placed if isinstance(row, Job)]
        events = list(record(placed)) if record else []
        progress = progress_of_children(job.pk)
        over: dict[str, Any] = {"attempt": 0, "worker": None, "lease_token": None, "lease_expires_at": None}
        recorded: dict[str, Any] = {"progress": progress, "warnings": list(warnings), "timings": timings or {}}
        if not rows:
            events.append(("status", {"status": Status.QUEUED, "attempt": 0}))
            over |= {"status": Status.QUEUED, "available_at": clock()}
            wakeups.notify_workers_on_commit(job.pk)
        transition(job, Status.RUNNING, [("progress", progress), *events], exclusive_type="preview", **over, **recorded, **own)
        wakeups.notify_web_on_commit()
    for submitted in rows:
        jobs_submitted.add(submitted.kind, submitted.source)


def hand_down_quota(job: Job, children: Sequence[ChildJob], owner: OwnerLimits) -> dict[str, Any]:
    """What its row expects from now on, while the children's rows expect the rest. Raises DarkroomError (429)."""
    if not owner.quotas:
        return {}
    own, asked = get_kind(job.kind).expected(read_spec(job)), Amount()
    for child in children:
        asked = asked.plus(expected(spec_of(child)))
    usage.lock_owner(job.owner_key)
    usage.ensure_within(job.owner_key, owner.quotas, asked.less(usage.expected_of(job).less(own)))
    return usage.expected_columns(own)


def submit_those_that_fit(job: Job, children: Sequence[ChildJob], owner: OwnerLimits) -> list[Job | DarkroomError]:
    """In the place of a child that a quota refuses, why. First the parent gives up what it has reserved for them."""
    own = get_kind(job.kind).expected(read_spec(job))
    usage.lock_owner(job.owner_key)
    Job.objects.filter(pk=job.pk).update(**usage.expected_columns(own))
    return [refusal_of(child, job, owner) or submit_child(job, child, owner) for child in children]


def refusal_of(child: ChildJob, parent: Job, owner: OwnerLimits) -> DarkroomError | None:
    try:
        usage.ensure_within(parent.owner_key, owner.quotas, expected(spec_of(child)))
    except DarkroomError as error:
        return error
    return None


def spec_of(child: ChildJob) -> Spec:
    return read_spec(Job(kind=child.kind, params=child.params))


def submit_child(parent: Job, child: ChildJob, owner: OwnerLimits) -> Job:
    """Raises DarkroomError where its params are no request of its kind, or the disk is nearly full."""
    ensure_free_space()
    spec = spec_of(child)
    job = new_row(
        spec,
        child.warnings,
        owner_key=parent.owner_key,
        source=parent.source,
        priority=parent.priority,
        parent=parent,
        only_worker_id=child.only_worker_id,
    )
    if owner.quotas:
        expect(job, spec)
    return add_child(job, spec, owner, get_kind(spec.kind).link_inputs(spec))


def check_child(parent: Job, spec: Spec) -> Link | None:
    """What a job's owner did not ask in these words is read as a request is: by the rules for prompts. Raises DarkroomError for what they
    refuse; what they want to be kept beside the child is for its transaction. Quotas are asked too, as they stand: the transaction asks
    again.
    """
    if quotas := limits_of(parent.owner_key).quotas:
        usage.ensure_within(parent.owner_key, quotas, expected(spec))
    return check_submission(Job(kind=spec.kind, owner_key=parent.owner_key, source=parent.source), spec, None)
