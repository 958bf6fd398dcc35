"""Reads of the history."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import django_filters
from django.db import connection
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError

from api.jobs.kinds import kind_names
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store.fair_order import JOB, index_hint
from api.queries import TimeFilter
from api.strict import nearest

POSITIONS_SHOWN = 1000


class JobFilter(django_filters.FilterSet):
    kind = django_filters.CharFilter(method="filter_kind")
    status = django_filters.ChoiceFilter(choices=Status.choices)
    model_id = django_filters.CharFilter(max_length=200)
    source = django_filters.CharFilter(max_length=20, label="which API or page it came by: api, openai, studio …")
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
    """How many jobs are claimed before each of these, for those that are queued; two queries, the first 1,000 places."""
    waiting = {job.id for job in jobs if job.status == Status.QUEUED}
    return {job_id: place for place, job_id in enumerate(queue_order()) if job_id in waiting} if waiting else {}


def queue_order() -> list[uuid.UUID]:
    """The first 1,000 jobs in the order in which they are claimed.

    Rows never tried are claimed in turn, and before the others: of those the least tried, and the newest of them (lifecycle/claim.py).
    That a tried row takes its turn when it has waited for long is left out.
    """
    untried = list(in_turn(untried_slots()))
    tried = Job.objects.filter(status=Status.QUEUED, attempt__gt=0).order_by("attempt", "-id").values_list("id", flat=True)
    return [*untried, *tried[: POSITIONS_SHOWN - len(untried)]] if len(untried) < POSITIONS_SHOWN else untried


def untried_slots() -> list[tuple[str, int, float, uuid.UUID]]:
    """In SQL, for the index: ten thousand queued rows were read and sorted for the first thousand."""
    sql = f"""SELECT owner_key, priority, owner_order, id FROM {JOB} {index_hint("job_queue")}
        WHERE status = 'queued' AND attempt = 0 ORDER BY virtual_start, id LIMIT {POSITIONS_SHOWN}"""  # noqa: S608  (names of ours)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [(owner, priority, order, uuid.UUID(str(pk))) for owner, priority, order, pk in cursor]


def in_turn(slots: Sequence[Sequence[Any]]) -> Iterator[uuid.UUID]:
    """Which job takes each slot, given as owner, priority, owner_order and id: of the owner's the one of the highest priority, the oldest
    of them.
    """
    rows: dict[str, list[tuple[int, float, uuid.UUID]]] = {}
    for owner, priority, order, job_id in slots:
        rows.setdefault(owner, []).append((-priority, order, job_id))
    best_first = {owner: iter(sorted(theirs)) for owner, theirs in rows.items()}
    return (next(best_first[owner])[2] for owner, *_ in slots)


def queue_position(job: Job) -> int | None:
    """How many jobs are claimed before it; None where it is not queued."""
    if job.status != Status.QUEUED:
        return None
    queue = Job.objects.filter(status=Status.QUEUED).order_by()
    if job.attempt:
        return queue.filter(Q(attempt__lt=job.attempt) | Q(attempt=job.attempt, id__gt=job.id)).count()
    untried = queue.filter(attempt=0)
    mine = untried.filter(owner_key=job.owner_key)
    older = Q(owner_order__lt=job.owner_order) | Q(owner_order=job.owner_order, id__lt=job.id)
    better = mine.filter(Q(priority__gt=job.priority) | Q(older, priority=job.priority)).count()
    slots = mine.order_by("virtual_start", "id").values_list("virtual_start", "id")[better : better + 1]
    if (slot := slots.first()) is None:
        return None  # it has been claimed since
    before = Q(virtual_start__lt=slot[0]) | Q(virtual_start=slot[0], id__lt=slot[1])
    return untried.filter(before).count()
