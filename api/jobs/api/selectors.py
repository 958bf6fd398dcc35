"""Reads of the history."""

import uuid
from collections.abc import Iterable

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
    queue = Job.objects.filter(status=Status.QUEUED).order_by(TRIED, "-priority", "id").values_list("id", flat=True)
    return {job_id: place for place, job_id in enumerate(queue[:POSITIONS_SHOWN]) if job_id in waiting}


def queue_position(job: Job) -> int | None:
    if job.status != Status.QUEUED:
        return None
    before = Q(priority__gt=job.priority) | Q(priority=job.priority, id__lt=job.id)
    before = Q(attempt=0) | (Q(attempt__gt=0) & before) if job.attempt else Q(attempt=0) & before
    return Job.objects.filter(before, status=Status.QUEUED).order_by().count()
