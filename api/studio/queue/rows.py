"""The queue's rows: what runs, what waits in the order of its turn, and what has ended. Each a bounded number of queries and rows."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from django.db.models import Count, QuerySet
from django.utils import timezone

from api.access.principals import Principal
from api.jobs.admin.tools import between, seconds_text
from api.jobs.api.selectors import POSITIONS_SHOWN, queue_order
from api.jobs.identifiers import first_id_of
from api.jobs.models import Job
from api.jobs.states import FINAL, Status
from api.studio.jobs import time_left
from api.studio.queue.owners import owner_names
from api.studio.queue.query import ENDED, FAILED, RUNNING, WAITING, QueueQuery, narrow

MOST_RUNNING, MOST_WAITING, MOST_ENDED, MOST_CHILDREN, MOST_COUNTED = 30, 30, 20, 100, 1000
ENDED_WITHIN = timedelta(days=7)
UNUSED = ("params", "result", "timings", "warnings", "webhook", "batch_key", "body_hash", "idempotency_key")
"""What rows of the list don't show; results may be long."""


@dataclass(frozen=True)
class Row:
    job: Job
    position: int | None = None
    """Jobs before it; None where it is not queued, or further back than positions are told."""
    owner: str = ""
    """For staff: whose it is."""
    children: Sequence[Job] = ()
    child_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_stopping(self) -> bool:
        return self.job.status == Status.RUNNING and self.job.cancel_requested_at is not None

    @property
    def percent(self) -> int:
        fraction = self.child_ends / self.child_total if self.child_total else self.job.progress.get("fraction", 0)
        return round(100 * fraction)

    @property
    def time_left(self) -> str:
        return time_left(self.job)

    @property
    def child_total(self) -> int:
        return sum(self.child_counts.values())

    @property
    def child_ends(self) -> int:
        return sum(count for status, count in self.child_counts.items() if status in FINAL)

    @property
    def took(self) -> str:
        """How long it waits, runs, or took."""
        since = self.job.created_at if self.job.status == Status.QUEUED else self.job.started_at or self.job.created_at
        return seconds_text(between(since, self.job.finished_at or timezone.now()))


@dataclass
class QueueRows:
    principal: Principal
    query: QueueQuery

    @cached_property
    def all(self) -> QuerySet[Job]:
        return narrow(self.principal, self.query).defer(*UNUSED)

    @cached_property
    def running_jobs(self) -> list[Job]:
        return list(self.all.filter(status=Status.RUNNING).order_by("-pk")[:MOST_RUNNING]) if self.query.shows(RUNNING) else []

    @cached_property
    def order(self) -> list[uuid.UUID]:
        return queue_order()

    @cached_property
    def waiting_jobs(self) -> list[Job]:
        if not self.query.shows(WAITING):
            return []
        queued = self.all.filter(status=Status.QUEUED).order_by()
        mine = set(queued.filter(pk__in=self.order).values_list("pk", flat=True))
        chosen = [pk for pk in self.order if pk in mine][:MOST_WAITING]
        if len(chosen) < MOST_WAITING and len(self.order) == POSITIONS_SHOWN:
            further = queued.exclude(pk__in=self.order).order_by("virtual_start", "id")
            chosen += further.values_list("pk", flat=True)[: MOST_WAITING - len(chosen)]
        found = self.all.in_bulk(chosen)
        return [found[pk] for pk in chosen if pk in found]

    @cached_property
    def waiting_count(self) -> int:
        """Shown or not; counted up to MOST_COUNTED and one more."""
        shown = len(self.waiting_jobs)
        if shown < MOST_WAITING:
            return shown
        return self.all.filter(status=Status.QUEUED).order_by()[: MOST_COUNTED + 1].count()

    @cached_property
    def ended_jobs(self) -> list[Job]:
        if not self.query.shows(ENDED):
            return []
        states = [Status.FAILED] if self.query.state == FAILED else list(FINAL)
        recent = self.all.filter(status__in=states, pk__gte=first_id_of(timezone.now() - ENDED_WITHIN))
        return list(recent.order_by("-pk")[:MOST_ENDED])

    # ------------------------------------------------------------ as rows

    def sections(self) -> dict[str, list[Row]]:
        found = {RUNNING: self.running_jobs, WAITING: self.waiting_jobs, ENDED: self.ended_jobs}
        jobs = [job for those in found.values() for job in those]
        places = {pk: place for place, pk in enumerate(self.order)} if self.waiting_jobs else {}
        counts, children = children_of(self.running_jobs + self.waiting_jobs)
        owners = owner_names(jobs) if self.principal.is_staff else {}
        return {
            name: [
                Row(job, places.get(job.pk), owners.get(job.owner_key, ""), children[job.pk], counts[job.pk]) for job in those
            ]
            for name, those in found.items()
        }


def children_of(parents: Iterable[Job]) -> tuple[dict[uuid.UUID, dict[str, int]], dict[uuid.UUID, list[Job]]]:
    """How many children each has in each state, and the first of them."""
    counts: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    children: dict[uuid.UUID, list[Job]] = defaultdict(list)
    of_these = Job.objects.filter(parent__in=[job.pk for job in parents]).order_by()
    for parent, status, count in of_these.values_list("parent_id", "status").annotate(Count("pk")):
        counts[parent][status] = count
    if counts:
        for child in of_these.order_by("pk").defer(*UNUSED)[:MOST_CHILDREN]:
            children[child.parent_id].append(child)  # type: ignore[index]  # these have one
    return counts, children
