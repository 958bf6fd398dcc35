"""Taking workers out of work, and back: what they run they finish, and they claim nothing more.

A drain is a row that names a worker, or a machine with all its workers, those that start there later included. A worker looks for it when
it is notified, and at each heartbeat; it says in its own row (`drained_at`) when it runs nothing and has seen the drain, so that nothing is
claimed after that.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from api.errors import DarkroomError
from api.jobs.errors import LeaseLost
from api.jobs.lifecycle import end_job
from api.jobs.models import Drain, Job, Worker
from api.jobs.notify import wakeups
from api.jobs.states import Status
from api.jobs.store.statements import run

DRAINING = DarkroomError(
    "worker_draining", 409, "The worker that this job was for is being taken out of work. Send it to another one."
)


@transaction.atomic
def drain(*, worker_id: uuid.UUID | None = None, hostname: str = "", exits: bool = False) -> Drain:
    """Asked twice, the later one counts. With `exits` workers end once they are drained."""
    made, _ = Drain.objects.update_or_create(worker_id=worker_id, hostname=hostname, defaults={"exits": exits})
    wakeups.notify_lease_keepers_on_commit()
    refuse_addressed_jobs(worker.pk for worker in workers_of(made))
    return made


@transaction.atomic
def undo_drain(drains: QuerySet[Drain]) -> int:
    """How many there were."""
    count, _ = drains.delete()
    wakeups.notify_lease_keepers_on_commit()
    return count


def drain_of(worker: Worker) -> Drain | None:
    """One that lets it end goes before one that doesn't. First whether there is any at all: each worker asks at each heartbeat."""
    if not run(f"SELECT 1 FROM {Drain._meta.db_table} LIMIT 1"):  # noqa: S608
        return None
    return Drain.objects.filter(Q(worker_id=worker.pk) | Q(hostname=worker.hostname)).order_by("-exits").first()


def is_machine_out(hostname: str) -> bool:
    """Whether no worker should be started there."""
    return Drain.objects.filter(hostname=hostname, exits=True).exists()


def asked_to_drain() -> Exists:
    """For `annotate`, of workers: whether a drain names it, or its machine."""
    return Exists(Drain.objects.filter(Q(worker_id=OuterRef("pk")) | Q(hostname=OuterRef("hostname"))))


def live_workers() -> QuerySet[Worker]:
    recent = Now() - timedelta(seconds=settings.JOB_LEASE_SECONDS)
    alive = Worker.objects.filter(heartbeat_at__gte=recent).exclude(state=Worker.State.STOPPED)
    return alive.annotate(asked_to_drain=asked_to_drain())


def workers_of(drain: Drain) -> list[Worker]:
    """Those alive."""
    which = {"pk": drain.worker_id} if drain.worker_id else {"hostname": drain.hostname}
    return list(live_workers().filter(**which))


def draining_ids(workers: Iterable[Worker]) -> set[uuid.UUID]:
    """Those that were asked to, whether they have seen it or not. Of a query with `asked_to_drain`."""
    return {worker.pk for worker in workers if worker.asked_to_drain}  # type: ignore[attr-defined]


def with_drains(workers: QuerySet[Worker]) -> list[Worker]:
    """As pages show them: one that was asked to drain says so from then on."""
    annotated = workers.annotate(asked_to_drain=asked_to_drain())
    for worker in (shown := list(annotated)):
        worker.state = Worker.State.DRAINING if worker.asked_to_drain else worker.state
    return list[Worker](shown)


def undrained(drain: Drain) -> list[Worker]:
    """Those that still run something, or have not seen it yet."""
    return [worker for worker in workers_of(drain) if worker.drained_at is None]


def refuse_addressed_jobs(worker_ids: Iterable[uuid.UUID]) -> int:
    """Queued jobs for one of them alone fail: nobody else would take them. How many there were."""
    theirs = list(Job.objects.filter(status=Status.QUEUED, only_worker_id__in=list(worker_ids)))
    error = DRAINING.to_json()
    for job in theirs:
        try:
            with transaction.atomic():
                end_job(job, Status.FAILED, ("error", error), from_status=Status.QUEUED, error=error)
        except LeaseLost:
            pass  # claimed or cancelled meanwhile
    return len(theirs)


def find_worker(text: str) -> Worker:
    """By its id, whole or its end as lists show it. Raises DarkroomError (404)."""
    found: Sequence[Worker] = [worker for worker in live_workers() if str(worker.pk).endswith(text.lower())]
    if len(found) != 1:
        known = ", ".join(f"{worker.pk} ({worker})" for worker in live_workers()) or "none"
        raise DarkroomError(
            "unknown_worker", 404, f"{len(found)} workers that are alive have the id {text}. There are: {known}."
        )
    return found[0]
