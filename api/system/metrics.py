"""/metrics: what the server counts, in Prometheus' format.

Everything about jobs, workers and disks is read when Prometheus asks, from rows that all processes share. Only HTTP requests
are counted in memory, in each web process for itself: with one web process (the default) that is all of them; with several,
PROMETHEUS_MULTIPROC_DIR names a folder where they are added up (prometheus_client's own way; empty it before a start).
"""

import os
from collections import Counter as Count
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from django.conf import settings
from django.db.models import DurationField, F, Max
from django.db.models.functions import Now
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from api.files.storage import media_folder
from api.jobs.disk import disk_usage
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.webhooks import count_undelivered
from api.system.counters import BUCKETS, count_ended_jobs
from api.system.models import JobCounter
from api.system.selectors import live_workers, queue_length

disable_created_metrics()  # a second series beside each, which nobody here asks for
VERSION = str(settings.SPECTACULAR_SETTINGS["VERSION"])
http_registry = CollectorRegistry()
http_requests = Counter(
    "darkroom_http_requests",
    "Requests answered, by the address's pattern.",
    ["method", "route", "status"],
    registry=http_registry,
)
http_seconds = Histogram(
    "darkroom_http_request_seconds",
    "From a request's arrival to its answer's headers; a request that waits for its job takes as long as that.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=http_registry,
)


def render(accept: str) -> tuple[bytes, str]:
    """The body and its content type, in the newest format that the scraper accepts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(http_registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class ServerCollector(Collector):
    """Asks the database and the disks, once a scrape."""

    def collect(self) -> Iterator[Metric]:
        yield labelled("darkroom_info", "The server's version.", "version", {VERSION: 1})
        yield from queue_metrics()
        yield from history_metrics()
        yield from worker_metrics()
        yield webhook_metric()
        yield labelled("darkroom_disk_free_bytes", "Free where each folder is.", "folder", free_bytes())


def labelled(name: str, description: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def queue_metrics() -> Iterator[Metric]:
    yield labelled("darkroom_jobs", "Jobs that are not yet done.", "status", queue_length())
    waiting = Job.objects.filter(status=Status.QUEUED, available_at__lte=Now()).order_by()
    seconds = waiting.aggregate(longest=Max(Now() - F("created_at"), output_field=DurationField()))["longest"]
    description = "How long the job that has waited longest for a worker has."
    yield GaugeMetricFamily("darkroom_queue_oldest_seconds", description, value=seconds.total_seconds() if seconds else 0)


def history_metrics() -> Iterator[Metric]:
    count_ended_jobs()
    labels = ["kind", "model_id"]
    finished = CounterMetricFamily("darkroom_jobs_finished", "Jobs that have ended.", labels=[*labels, "status"])
    runs = HistogramMetricFamily("darkroom_job_run_seconds", "What jobs that succeeded took a worker.", labels=labels)
    for row in JobCounter.objects.order_by("pk"):
        finished.add_metric([row.kind, row.model_id, row.status], row.count)
        if row.status == Status.SUCCEEDED:
            runs.add_metric([row.kind, row.model_id], cumulative(row.buckets), row.seconds)
    yield finished
    yield runs


def cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    return [(floatToGoString(most), total) for most, total in zip(BUCKETS, accumulate(counts), strict=True)]


def worker_metrics() -> Iterator[Metric]:
    workers = live_workers()
    states = {state: 0 for state in Worker.State.values if state != Worker.State.STOPPED}
    loaded: Count[str] = Count()
    spare: Count[str] = Count()
    for worker in workers:
        states[worker.state] += 1
        loaded.update({model["id"]: model["bytes"] for model in worker.loaded_models})
        spare.update({model["id"]: model.get("spare_bytes", 0) for model in worker.loaded_models})
    yield labelled("darkroom_workers", "Workers whose heartbeat is young.", "state", states)
    yield labelled("darkroom_model_loaded_bytes", "Weights in the workers' memory.", "model_id", loaded)
    yield labelled(
        "darkroom_model_cache_bytes",
        "What is kept beside them: of chats, and CUDA graphs.",
        "model_id",
        spare,
    )


def webhook_metric() -> GaugeMetricFamily:
    """Those that were delivered are left out: counting them would read all of the table."""
    description = "Webhooks' events that wait to be delivered, and those that were given up, as long as they are listed."
    return labelled("darkroom_webhook_deliveries", description, "status", count_undelivered())


def free_bytes() -> dict[str, float]:
    folders = {"data": settings.DATA_DIR, "media": media_folder(), "models": settings.MODELS_DIR}
    return {name: disk_usage(folder).free for name, folder in folders.items() if folder}
