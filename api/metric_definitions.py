"""What processes count for /metrics: the list of it, and this process's part since it was last added to the database's totals.

Counting is an addition in memory. api/system/totals.py adds what has grown to rows that all processes share, some seconds later: so a
total is the same whichever process is asked, and goes on after a restart. What a killed process had not added yet is lost.
Labels have few values: names of kinds, models, routes and the like, never of owners, jobs or paths.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

Key = tuple[str, tuple[str, ...], str]
"""A total's name, the values of its labels, and what of it: '' for a counter; of a histogram 'sum', or the number of a bucket."""
INFINITY = float("inf")
# MetricTotal's rows keep a histogram's counts by the place of the bucket: other bounds need a migration of them.
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, INFINITY)
SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, INFINITY)
SIZES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, INFINITY)

_grown: dict[Key, float] = defaultdict(float)
_lock = threading.Lock()
T = TypeVar("T", bound="Total")


@dataclass(frozen=True)
class Total:
    """`name` without Prometheus's suffixes."""

    name: str
    description: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counter(Total):
    def add(self, *values: str, by: float = 1.0) -> None:
        with _lock:
            _grown[self.name, values, ""] += by


@dataclass(frozen=True)
class Histogram(Total):
    buckets: tuple[float, ...] = SLOW

    def observe(self, value: float, *values: str) -> None:
        with _lock:
            for key, growth in self.growth(value, *values):
                _grown[key] += growth

    def growth(self, value: float, *values: str) -> tuple[tuple[Key, float], tuple[Key, float]]:
        """What one observation adds. Less than nothing, where a clock was set back, counts as nothing."""
        value = max(0.0, value)
        place = str(bisect_left(self.buckets, value))
        return ((self.name, values, place), 1.0), ((self.name, values, "sum"), value)

    @contextmanager
    def time(self, *values: str) -> Iterator[None]:
        started = perf_counter()
        try:
            yield
        finally:
            self.observe(perf_counter() - started, *values)


def take_grown() -> dict[Key, float]:
    """What was counted since the last call."""
    global _grown
    with _lock:
        taken, _grown = _grown, defaultdict(float)
    return taken


def give_back(growth: Mapping[Key, float]) -> None:
    """It could not be added to the totals: it is added with what comes next."""
    with _lock:
        for key, value in growth.items():
            _grown[key] += value


TOTALS: dict[str, Total] = {}


def listed(total: T) -> T:
    TOTALS[total.name] = total
    return total


# ---------------------------------------------------------------- requests
http_requests = listed(
    Counter("darkroom_http_requests", "Requests answered, by the address's pattern.", ("method", "route", "status"))
)
http_seconds = listed(
    Histogram(
        "darkroom_http_request_seconds",
        "From a request's arrival to its answer's headers; a request that waits for its job takes as long as that.",
        ("method", "route"),
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, INFINITY),
    )
)

# ---------------------------------------------------------------- jobs
jobs_submitted = listed(Counter("darkroom_jobs_submitted", "Jobs that were accepted, children too.", ("kind", "source")))
quota_refusals = listed(
    Counter("darkroom_quota_refusals", "Jobs and uploads refused since a key's quota has no room for them.", ("quota",))
)
job_failures = listed(Counter("darkroom_job_failures", "Jobs that failed, by the code of their error.", ("kind", "reason")))
RUN_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, float("inf"))
"""Seconds, of `darkroom_job_run_seconds`. Rows keep counts by the bucket's place: other bounds need a migration of JobCounter."""
job_handbacks = listed(
    Counter(
        "darkroom_job_handbacks",
        "Running jobs that went back to the queue: their worker stopped, they are tried again, or the storage was away (postponed).",
        ("kind", "cause"),
    )
)
stage_seconds = listed(
    Histogram(
        "darkroom_job_stage_seconds",
        "The stages of jobs that ended, as in their timings; queue is the wait.",
        ("kind", "stage"),
    )
)
claim_sizes = listed(Histogram("darkroom_claim_jobs", "How many jobs a worker claimed together.", ("kind",), SIZES))
claims = listed(
    Counter("darkroom_claimed_jobs", "Jobs claimed, by whether their worker held their model.", ("kind", "model_held"))
)
busy_seconds = listed(Counter("darkroom_worker_busy_seconds", "Time in which workers had a job, all together."))
occupied_seconds = listed(
    Counter(
        "darkroom_worker_job_seconds",
        "The same for each of the jobs at hand: divided by it, how many a busy worker has at once.",
    )
)
workers_lost = listed(Counter("darkroom_workers_lost", "Workers whose heartbeats stopped without a goodbye."))
placement_seconds = listed(
    Histogram(
        "darkroom_placement_wait_seconds", "How long a job at the queue's head was left to another worker that holds its model."
    )
)
wakeups = listed(Counter("darkroom_broker_messages", "Wake-ups for Celery's broker.", ("outcome",)))

# ---------------------------------------------------------------- models
load_seconds = listed(Histogram("darkroom_model_load_seconds", "Models brought into memory.", ("model_id",)))
evictions = listed(Counter("darkroom_model_evictions", "Models put out of memory for others.", ("model_id",)))
memory_measures = listed(Counter("darkroom_memory_measures", "What was done when a device's memory ran out.", ("measure",)))

# ---------------------------------------------------------------- what is beside
webhook_seconds = listed(
    Histogram("darkroom_webhook_attempt_seconds", "Tries to deliver an event: taken, refused, unreachable.", ("outcome",), FAST)
)
storage_seconds = listed(
    Histogram(
        "darkroom_storage_operation_seconds", "What was asked of the storage of pictures.", ("storage", "operation"), FAST
    )
)
storage_failures = listed(Counter("darkroom_storage_failures", "Of these, those that failed.", ("storage", "operation")))
outages = listed(
    Counter("darkroom_outages", "Requests that could not be served for a lack of something, by the error's code.", ("code",))
)
