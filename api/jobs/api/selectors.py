"""Reads of the history."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import django_filters
from django.db import connection
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError

from api.jobs.identifiers import first_id_of
from api.jobs.kinds import kind_names
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store.fair_order import JOB, index_hint
from api.jobs.store.statements import run
from api.jobs.store.transitions import stored
from api.queries import ChoiceFilter, GivenFilters, TimeFilter
from api.strict import nearest

POSITIONS_SHOWN = 1000
CLOCKS_DIFFER = 86_400.0


class CreationFilter(TimeFilter):
    """By `created_at`, which is the database's time. A list is in the order of its ids (UUIDv7), which have the time of the web process:
    they are bounded too, by CLOCKS_DIFFER seconds more, and so the list begins near its first row instead of at the newest of all.
    """

    def filter(self, queryset: Any, value: Any) -> Any:
        found = super().filter(queryset, value)
        if value is None:
            return found
        seconds = CLOCKS_DIFFER if self.lookup_expr == "lt" else -CLOCKS_DIFFER
        return found.filter(**{f"pk__{self.lookup_expr}": first_id_of(value, seconds=seconds)})


class JobFilter(GivenFilters):
    kind = django_filters.CharFilter(method="filter_kind")
    status = ChoiceFilter(choices=Status.choices)
    model_id = django_filters.CharFilter(max_length=200)
    source = django_filters.CharFilter(max_length=20, label="which API or page it came by: api, openai, studio …")
    created_after = CreationFilter(field_name="created_at", lookup_expr="gte")
    created_before = CreationFilter(field_name="created_at", lookup_expr="lt")
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
    """How many jobs are claimed before it; None where it is not queued. In SQL: each answer to a job that waits tells it."""
    if job.status != Status.QUEUED:
        return None
    if job.attempt:
        tried = Job.objects.filter(status=Status.QUEUED).order_by()
        return tried.filter(Q(attempt__lt=job.attempt) | Q(attempt=job.attempt, id__gt=job.id)).count()
    place = [job.owner_key, job.owner_key, job.priority, job.priority, job.owner_order, stored("id", job.pk)]
    rows = run(slots_before(), place)
    return int(rows[0][0]) if rows else None  # none where it has been claimed since


@cache
def slots_before() -> str:
    """The number of slots before that of one untried job: the slots of its owner go to the owner's best rows first."""
    mine = f"{JOB} {index_hint('job_owner_queue')} WHERE status = 'queued' AND attempt = 0 AND owner_key = %s"
    return f"""WITH slot AS (SELECT virtual_start, id FROM {mine} ORDER BY virtual_start, id LIMIT 1 OFFSET (
            SELECT COUNT(*) FROM {mine} AND (priority > %s OR (priority = %s AND (owner_order, id) < (%s, %s)))))
        SELECT (SELECT COUNT(*) FROM {JOB} AS other {index_hint("job_queue")} WHERE other.status = 'queued' AND other.attempt = 0
            AND (other.virtual_start, other.id) < (slot.virtual_start, slot.id)) FROM slot"""  # noqa: S608  (names of ours)
