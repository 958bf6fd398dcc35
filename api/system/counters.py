"""Counts jobs as they end, into rows, so that /metrics says the same whichever process answers and after every restart."""

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import CharField, F, Min
from django.db.models.functions import Cast, Now

from api.jobs.models import Job
from api.jobs.states import ACTIVE
from api.system.models import JobTally, TallyMark

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, float("inf"))
COMMIT_LAG = timedelta(seconds=2)  # a row that ends now may be committed a moment later
CLOCK_LAG = timedelta(minutes=2)  # ids carry the clock of the process that made them
ONLY = 1

Key = tuple[str, str, str]


@dataclass
class Growth:
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))

    def add(self, seconds: float | None) -> None:
        """`seconds` is None for a job that no worker had begun."""
        self.count += 1
        if seconds is not None:
            self.seconds += seconds
            self.buckets[next(index for index, most in enumerate(BUCKETS) if seconds <= most)] += 1


@transaction.atomic
def count_ended_jobs() -> None:
    """Counts what has ended since the last time; the first call begins at now. Many may call it at once: they take turns.

    Reads from the oldest job that was open at the last call on, so it costs what has happened since, not the history's length.
    """
    start = {"counted_until": Now(), "oldest_open": first_id_at(datetime.now().astimezone() - CLOCK_LAG)}
    TallyMark.objects.get_or_create(pk=ONLY, defaults=start)
    mark = TallyMark.objects.select_for_update().annotate(now=Now()).get(pk=ONLY)
    until: datetime = mark.now - COMMIT_LAG
    if until <= mark.counted_until:
        return
    # Only jobs in a final state have finished_at. Asking for the state tempts SQLite to an index over all the history.
    ended = Job.objects.filter(id__gte=mark.oldest_open, finished_at__gt=mark.counted_until).order_by()
    growth: dict[Key, Growth] = defaultdict(Growth)
    later = []
    for job in ended.only("id", "kind", "model_id", "status", "started_at", "finished_at").iterator():
        assert job.finished_at is not None
        if job.finished_at > until:
            later.append(job.id)
            continue
        seconds = (job.finished_at - job.started_at).total_seconds() if job.started_at else None
        growth[job.kind, job.model_id, job.status].add(seconds)
    for key, grown in growth.items():
        add_to_counter(key, grown)
    mark.counted_until, mark.oldest_open = until, oldest_open(later, until)
    mark.save(update_fields=["counted_until", "oldest_open"])


def oldest_open(later: list[uuid.UUID], until: datetime) -> uuid.UUID:
    """No job that ends after `until` has an id below this."""
    # As text: PostgreSQL before 18 has no min(uuid), and no index on it can tempt the planner to walk the whole history.
    active = Job.objects.filter(status__in=ACTIVE).aggregate(first=Min(Cast("id", CharField())))["first"]
    return min([*later, first_id_at(until - CLOCK_LAG), *([uuid.UUID(active)] if active else [])])


def first_id_at(moment: datetime) -> uuid.UUID:
    """The lowest UUIDv7 of its millisecond."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def add_to_counter(key: Key, grown: Growth) -> None:
    kind, model_id, status = key
    row, _ = JobTally.objects.get_or_create(kind=kind, model_id=model_id, status=status)
    before = row.buckets or [0] * len(BUCKETS)
    JobTally.objects.filter(pk=row.pk).update(
        count=F("count") + grown.count,
        seconds=F("seconds") + grown.seconds,
        buckets=[old + new for old, new in zip(before, grown.buckets, strict=True)],
    )
