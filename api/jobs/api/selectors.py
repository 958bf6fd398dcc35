"""Reads of the history."""

import uuid
from collections.abc import Iterable, Iterator, Sequence

import django_filters
from django.db.models import Case, Q, QuerySet, When
from rest_framework.exceptions import ValidationError

from api.jobs.kinds import kind_names
from api.jobs.models import Job
from api.jobs.states import Status
from api.queries import TimeFilter
from api.strict import nearest

POSITIONS_SHOWN = 1000
TRIED = Case(When(attempt=0, then=0), default=1)
"""Rows never tried are claimed first; for how long is left out here."""


class JobFilter(django_filters.FilterSet):
    kind = django_filters.CharFilter(method="filter_kind")
    status = django_filters.ChoiceFilter(choices=Status.choices)
    model_id = django_filters.CharFilter(max_length=200)
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")
    q = django_filters.CharFilter(field_name="prompt", lookup_expr="icontains", max_length=200, label="words in the prompt")

    class Meta:
        model = Job
        fields: list[str] = []

    def filter_kind(self, queryset: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        if value not in kind_names():
            raise ValidationError({"kind": [f"No such kind of job.{nearest(value, kind_names())}"]})
        return queryset.filter(kind=value)


def queue_positions(jobs: Iterable[Job]) -> dict[uuid.UUID, int]:
    """How many jobs are claimed before each of these, for those that are queued; one query, the first 1,000 places."""
    waiting = {job.id for job in jobs if job.status == Status.QUEUED}
    if not waiting:
        return {}
    queue = Job.objects.filter(status=Status.QUEUED).order_by(TRIED, "virtual_start", "id")
    slots = list(queue.values_list("owner_key", "priority", "owner_order", "id", "attempt")[:POSITIONS_SHOWN])
    return {job_id: place for place, job_id in enumerate(in_turn(slots)) if job_id in waiting}


def in_turn(slots: Sequence[tuple[str, int, float, uuid.UUID, int]]) -> Iterator[uuid.UUID]:
    """Which job takes each slot: of those of its owner the one of the highest priority, the oldest of them."""
    rows: dict[tuple[str, bool], list[tuple[int, float, uuid.UUID]]] = {}
    for owner, priority, order, job_id, attempt in slots:
        rows.setdefault((owner, attempt > 0), []).append((-priority, order, job_id))
    best_first = {whose: iter(sorted(theirs)) for whose, theirs in rows.items()}
    return (next(best_first[owner, attempt > 0])[2] for owner, _, _, _, attempt in slots)


def queue_position(job: Job) -> int | None:
    if job.status != Status.QUEUED:
        return None
    tried = Q(attempt__gt=0) if job.attempt else Q(attempt=0)
    alike = Job.objects.filter(tried, status=Status.QUEUED)
    mine = alike.filter(owner_key=job.owner_key)
    older = Q(owner_order__lt=job.owner_order) | Q(owner_order=job.owner_order, id__lt=job.id)
    better = mine.filter(Q(priority__gt=job.priority) | Q(older, priority=job.priority)).order_by().count()
    slots = mine.order_by("virtual_start", "id").values_list("virtual_start", "id")[better : better + 1]
    if (slot := slots.first()) is None:
        return None  # it has been claimed since
    before = Q(virtual_start__lt=slot[0]) | Q(virtual_start=slot[0], id__lt=slot[1])
    first_ones = Job.objects.filter(status=Status.QUEUED, attempt=0).order_by().count() if job.attempt else 0
    return first_ones + alike.filter(before).order_by().count()
