"""Counts jobs as they end, into rows, so that /metrics says the same whichever process answers and after every restart."""

from collections import defaultdict
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import F

from api.jobs.models import JobEnding
from api.jobs.states import Status
from api.jobs.store.outbox import take_unread
from api.jobs.store.usage import count_use
from api.metric_definitions import RUN_BUCKETS, job_failures, stage_seconds
from api.metric_definitions import Key as TotalKey
from api.system.models import JobCounter
from api.system.totals import add_to_totals

Key = tuple[str, str, str]


@dataclass
class Growth:
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(RUN_BUCKETS))

    def add(self, seconds: float | None) -> None:
        """`seconds` is None for a job that no worker had begun."""
        self.count += 1
        if seconds is not None:
            self.seconds += max(0.0, seconds)  # less than nothing where the clock was set back
            self.buckets[next(index for index, most in enumerate(RUN_BUCKETS) if seconds <= most)] += 1


def count_ended_jobs() -> None:
    """Counts what has ended since the last time, each job once, also where many call it at the same time."""
    while count_some_endings():
        pass


@transaction.atomic
def count_some_endings() -> int:
    endings = take_unread("counted")
    for key, grown in sorted(growth_of(endings).items()):  # in one order everywhere: two transactions never wait for each other
        add_to_counter(key, grown)
    if details := growth_of_totals(endings):
        add_to_totals(details)
    count_use(endings)
    return len(endings)


def growth_of_totals(endings: list[JobEnding]) -> dict[TotalKey, float]:
    """Of their stages, and of why they failed."""
    growth: dict[TotalKey, float] = defaultdict(float)
    for ending in endings:
        if ending.status == Status.FAILED:
            growth[job_failures.name, (ending.kind, ending.reason), ""] += 1
        for stage, seconds in (ending.timings or {}).items():
            for key, value in stage_seconds.growth(seconds, ending.kind, stage):
                growth[key] += value
    return growth


def growth_of(endings: list[JobEnding]) -> dict[Key, Growth]:
    growth: dict[Key, Growth] = defaultdict(Growth)
    for ending in endings:
        growth[ending.kind, ending.model_id, ending.status].add(ending.seconds)
    return growth


def add_to_counter(key: Key, grown: Growth) -> None:
    kind, model_id, status = key
    rows = JobCounter.objects.select_for_update().filter(kind=kind, model_id=model_id, status=status)
    row = rows.first()
    if row is None:
        JobCounter.objects.get_or_create(kind=kind, model_id=model_id, status=status)
        row = rows.get()
    before = row.buckets or [0] * len(RUN_BUCKETS)
    JobCounter.objects.filter(pk=row.pk).update(
        count=F("count") + grown.count,
        seconds=F("seconds") + grown.seconds,
        buckets=[old + new for old, new in zip(before, grown.buckets, strict=True)],
    )
