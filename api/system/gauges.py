"""What /metrics shows of the present: read from rows that all processes share, and from the disks of this machine."""

import time
from collections import Counter as Count
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.db.models import Count as CountRows
from django.db.models import DurationField, F, Max, Min
from django.db.models.functions import Now
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.files.storage import media_folder
from api.jobs.disk import disk_usage
from api.jobs.models import Job, Worker
from api.jobs.states import ACTIVE, Status
from api.jobs.store.statements import is_postgres, run
from api.jobs.webhooks import count_undelivered, webhook_waits
from api.system.selectors import live_workers

VERSION = str(settings.SPECTACULAR_SETTINGS["VERSION"])
Labels = tuple[str, ...]


def gauges() -> Iterator[Metric]:
    yield version_gauge()
    yield from queue_gauges()
    yield from owner_gauges()
    yield from worker_gauges()
    yield from model_gauges()
    yield from memory_gauges()
    yield from webhook_gauges()
    yield from database_gauges()
    yield from disk_gauges()


def version_gauge() -> GaugeMetricFamily:
    """More than one series while a fleet is being renewed."""
    versions = {VERSION, *(worker.device.get("version", VERSION) for worker in live_workers())}
    return gauge(
        "darkroom_info", "The version of who answers, and of the workers.", {(each,): 1 for each in versions}, "version"
    )


def gauge(name: str, description: str, values: Mapping[Labels, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def single(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value=value)


# ---------------------------------------------------------------- the queue


def queue_gauges() -> Iterator[Metric]:
    active = Job.objects.filter(status__in=ACTIVE).order_by()
    kinds: dict[Labels, float] = {
        (kind, status): count for kind, status, count in active.values_list("kind", "status").annotate(count=CountRows("pk"))
    }
    statuses: dict[Labels, float] = {(status,): 0.0 for status in ACTIVE}
    for (_, status), count in kinds.items():
        statuses[status,] += count
    yield gauge("darkroom_jobs", "Jobs that are not yet done.", statuses, "status")
    yield gauge("darkroom_jobs_active", "The same, by their kind.", kinds, "kind", "status")
    waiting = Job.objects.filter(status=Status.RUNNING, lease_token=None).order_by()
    yield single("darkroom_jobs_waiting", "Of those that run: jobs that wait for their children.", waiting.count())


def owner_gauges() -> Iterator[Metric]:
    """Fairness, without a series for each owner."""
    due = Job.objects.filter(status=Status.QUEUED, available_at__lte=Now()).order_by()
    owners = due.values("owner_key").annotate(count=CountRows("pk"), oldest=Min("created_at"))
    age = Max(Now() - F("oldest"), output_field=DurationField())
    found = owners.aggregate(owners=CountRows("owner_key"), most=Max("count"), longest=age)
    seconds = max(0.0, found["longest"].total_seconds()) if found["longest"] else 0.0
    yield single("darkroom_queue_oldest_seconds", "How long the job that has waited longest for a worker has.", seconds)
    yield single("darkroom_queue_owners", "Owners of jobs that wait for a worker.", found["owners"])
    yield single("darkroom_queue_owner_jobs", "How many wait of the owner who has most.", found["most"] or 0)


# ---------------------------------------------------------------- workers


def worker_gauges() -> Iterator[Metric]:
    states: Count[Labels] = Count({(state,): 0 for state in Worker.State.values if state != Worker.State.STOPPED})
    states.update((worker.state,) for worker in live_workers())
    yield gauge("darkroom_workers", "Workers whose heartbeat is young.", states, "state")
    alive = Worker.objects.exclude(state__in=(Worker.State.STOPPED, Worker.State.STARTING)).order_by()
    age = alive.aggregate(age=Max(Now() - F("heartbeat_at"), output_field=DurationField()))["age"]
    description = "How old the oldest heartbeat is of the workers that have begun and not ended."
    yield single("darkroom_worker_heartbeat_age_seconds", description, max(0.0, age.total_seconds()) if age else 0.0)


def model_gauges() -> Iterator[Metric]:
    loaded: Count[Labels] = Count()
    spare: Count[Labels] = Count()
    holders: Count[Labels] = Count()
    for model in (model for worker in live_workers() for model in worker.loaded_models):
        key = (model["id"],)
        loaded[key] += model["bytes"]
        spare[key] += model.get("spare_bytes", 0)
        holders[key] += 1
    yield gauge("darkroom_model_loaded_bytes", "Weights in the workers' memory.", loaded, "model_id")
    description = "What is kept beside them: of chats, and CUDA graphs."
    yield gauge("darkroom_model_cache_bytes", description, spare, "model_id")
    yield gauge("darkroom_model_workers", "Workers that hold the model.", holders, "model_id")


def memory_gauges() -> Iterator[Metric]:
    """By machine and device: several workers of one have their models together, and the device once."""
    held: Count[Labels] = Count()
    limits: Count[Labels] = Count()
    free: dict[Labels, float] = {}
    totals: dict[Labels, float] = {}
    for worker in live_workers():
        if memory := worker.device.get("model_memory"):
            device = worker.device["device"]
            key = (worker.hostname, f"{device['type']}:{device['index']}")
            held[key] += sum(model["bytes"] + model.get("spare_bytes", 0) for model in worker.loaded_models)
            limits[key] += memory["model_limit"]
            free[key], totals[key] = memory["device_free"], device["memory_total"]
    labels = ("host", "device")
    yield gauge("darkroom_model_memory_bytes", "Models and what is kept beside them, in workers' memory.", held, *labels)
    yield gauge("darkroom_model_memory_limit_bytes", "What weights may take: MODEL_MEMORY_LIMIT, or a share.", limits, *labels)
    yield gauge("darkroom_device_memory_free_bytes", "What can be allocated on the device.", free, *labels)
    yield gauge("darkroom_device_memory_bytes", "The device's memory; main memory where that is what it has.", totals, *labels)


# ---------------------------------------------------------------- what is beside


def webhook_gauges() -> Iterator[Metric]:
    """Those that were delivered are left out: counting them would read all of the table. See darkroom_webhook_attempt_seconds."""
    counts, waits = count_undelivered(), webhook_waits()
    description = "Webhooks' events that wait to be delivered, and those that were given up, as long as they are listed."
    yield gauge("darkroom_webhook_deliveries", description, {(status,): count for status, count in counts.items()}, "status")
    description = "Since the oldest event came that is not delivered; its receiver may fail."
    yield single("darkroom_webhook_oldest_seconds", description, waits.get("oldest", 0.0))
    description = "For how long the first event has been due that nobody has sent."
    yield single("darkroom_webhook_overdue_seconds", description, waits.get("overdue", 0.0))


def database_gauges() -> Iterator[Metric]:
    started = time.perf_counter()
    run("SELECT 1")
    yield single("darkroom_database_reply_seconds", "What the database takes for nothing.", time.perf_counter() - started)
    yield single("darkroom_database_bytes", "The size of the database.", database_bytes())
    open_now, most = connections() if is_postgres() else ({}, {})
    yield gauge("darkroom_database_connections", "Connections of all clients to PostgreSQL.", open_now)
    yield gauge("darkroom_database_max_connections", "How many PostgreSQL takes.", most)


def connections() -> tuple[dict[Labels, float], dict[Labels, float]]:
    clients = "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    open_now, most = run(f"SELECT {clients}, current_setting('max_connections')::int")[0]
    return {(): open_now}, {(): most}


def database_bytes() -> int:
    if is_postgres():
        return int(run("SELECT pg_database_size(current_database())")[0][0])
    pages, size = (int(run(f"PRAGMA {name}")[0][0]) for name in ("page_count", "page_size"))
    return pages * size


def disk_gauges() -> Iterator[Metric]:
    folders = {"data": settings.DATA_DIR, "media": media_folder(), "models": settings.MODELS_DIR}
    usage = {(name,): disk_usage(folder) for name, folder in folders.items() if folder}
    yield gauge(
        "darkroom_disk_free_bytes", "Free where each folder is.", {key: disk.free for key, disk in usage.items()}, "folder"
    )
    yield gauge("darkroom_disk_bytes", "Of how many.", {key: disk.total for key, disk in usage.items()}, "folder")
    description = "From here on the server takes no more jobs (MIN_FREE_DISK_BYTES)."
    yield single("darkroom_disk_floor_bytes", description, settings.MIN_FREE_DISK_BYTES)
