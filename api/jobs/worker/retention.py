"""How long events, jobs and the rows of ended workers are kept."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice

from django.conf import settings
from django.db.models import Model
from django.db.models.functions import Now
from django.dispatch import Signal

from api.jobs.models import Drain, Job, JobEvent, Worker
from api.jobs.states import FINAL
from api.jobs.store.deletion import Deletion
from api.jobs.store.deletion_slices import Keys, Slices, never
from api.jobs.store.old_jobs import old_jobs
from api.jobs.store.outbox import delete_read_endings
from api.jobs.store.preview_watches import delete_ended_watches

WORKER_DAYS = 7
jobs_leaving = Signal()
"""Sent with `leaving`, before they are deleted: `taken` and `then` wait to be filled."""
rows_leaving = Signal()
"""Sent with `leaving` and the `keys` of all rows that go, by model, once they are known."""


@dataclass
class LeavingJobs:
    """What receivers say of them: `post_delete` is sent for none of the rows that go with them."""

    ids: Keys
    staying: set[uuid.UUID] = field(default_factory=set)
    """Those that something under way needs."""
    taken: dict[type[Model], set[uuid.UUID]] = field(default_factory=dict)
    """Rows that refer to none of them, and go nevertheless."""
    then: list[Callable[[], object]] = field(default_factory=list)
    """In the same transaction, once the rows are gone."""

    @property
    def going(self) -> list[uuid.UUID]:
        return [job_id for job_id in self.ids if job_id not in self.staying]

    def take(self, model: type[Model], keys: Iterable[uuid.UUID]) -> None:
        self.taken.setdefault(model, set()).update(keys)


def clean_history(should_stop: Callable[[], bool] = never) -> None:
    """Events and the outbox past their retention, jobs past theirs (never active ones), workers long gone. In slices: no long lock."""
    slices = Slices(should_stop)
    delete_old_events(slices)
    delete_read_endings(slices)
    delete_ended_watches()
    if settings.JOB_RETENTION_DAYS:
        delete_old_jobs(slices)
    delete_old_workers(slices)


def delete_old_events(slices: Slices) -> None:
    old = JobEvent.objects.filter(created_at__lt=Now() - timedelta(hours=settings.EVENT_RETENTION_HOURS))
    old = old.filter(job__status__in=FINAL).order_by("created_at")
    slices.run(
        lambda size: list(old.values_list("pk", flat=True)[:size]), lambda ids: JobEvent.objects.filter(pk__in=ids).delete
    )


def delete_old_jobs(slices: Slices) -> None:
    waiting = old_jobs(settings.JOB_RETENTION_DAYS)
    while not slices.should_stop() and (ids := list(islice(waiting, slices.size))):
        delete_with_children(ids, slices)


def delete_with_children(ids: Keys, slices: Slices) -> None:
    """The children first, in slices of their own: a grid may have hundreds."""
    keeping = parents_among(ids)
    if keeping:
        slices.run(lambda size: children_of(list(keeping), size), prepare_jobs)
        keeping = parents_among(ids)
    if not slices.should_stop() and (free := [pk for pk in ids if pk not in keeping]):
        slices.delete(free, prepare_jobs)


def parents_among(ids: Keys) -> set[uuid.UUID | None]:
    return set(Job.objects.filter(parent__in=ids).order_by().values_list("parent", flat=True))


def children_of(ids: Keys, size: int) -> list[uuid.UUID]:
    """Those without children of their own, which come before the others."""
    below = Job.objects.filter(parent__in=ids).order_by("pk")
    found = list(below.values_list("pk", flat=True)[:size])
    return (found and children_of(found, size)) or found


def prepare_jobs(ids: Keys) -> Callable[[], object]:
    leaving = LeavingJobs(ids)
    jobs_leaving.send(sender=Job, leaving=leaving)
    deletion = Deletion({**leaving.taken, Job: leaving.going})
    rows_leaving.send(sender=Job, leaving=leaving, keys=deletion.keys)
    return partial(delete_prepared, deletion, leaving)


def delete_prepared(deletion: Deletion, leaving: LeavingJobs) -> None:
    deletion.run()
    for call in leaving.then:
        call()


def delete_old_workers(slices: Slices) -> None:
    """Jobs name theirs: a worker may have run a million, from which it is taken before it goes."""
    old = Worker.objects.filter(state=Worker.State.STOPPED, heartbeat_at__lt=Now() - timedelta(days=WORKER_DAYS))
    for worker in old:
        theirs = Job.objects.filter(worker=worker).order_by()
        slices.run(
            lambda size, theirs=theirs: list(theirs.values_list("pk", flat=True)[:size]),  # type: ignore[misc]
            lambda ids: partial(Job.objects.filter(pk__in=ids).update, worker=None),
        )
        if not slices.should_stop():
            Drain.objects.filter(worker_id=worker.pk).delete()
            worker.delete()
