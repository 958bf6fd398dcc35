"""The figures of the admin's first page: every query has a bound, and together they run once in CACHE_SECONDS."""

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from django.conf import settings
from django.core.cache import cache
from django.db.models import Sum
from django.utils import timezone

from api.files.models import StoredFile
from api.files.storage import media_folder
from api.images.models import GeneratedImage
from api.jobs.admin.tools import MOST_COUNTED, between, bytes_text, midnight, seconds_text, used_models
from api.jobs.disk import disk_usage
from api.jobs.draining import with_drains
from api.jobs.identifiers import first_id_of
from api.jobs.models import Job, Worker
from api.jobs.start_failures import start_failure
from api.jobs.states import Status
from api.studio.charts import Day, RunTime, days_chart, run_times_chart
from api.system.versions import differences

CACHE_SECONDS = 10
PAST_DAY_SECONDS = 3600
DISK_SECONDS = 300
DAYS = 14
MOST_A_DAY = 20_000
RECENT_RUNS = 1_000
MOST_MODELS = 10
LATEST = 12


def dashboard() -> dict[str, object]:
    return cache.get_or_set("studio.dashboard", build_dashboard, CACHE_SECONDS)  # type: ignore[return-value]


def build_dashboard() -> dict[str, object]:
    return {
        "days": days_chart(jobs_by_day()),
        "run_times": run_times_chart(run_times()),
        "queue": queue_now(),
        "versions": differences(),
        "worker_error": start_failure(),
        "workers": [describe_worker(worker) for worker in with_drains(Worker.objects.exclude(state=Worker.State.STOPPED)[:8])],
        "disk": disk(),
        "latest": list(GeneratedImage.objects.made_here().order_by("-pk").only("pk", "prompt", "model_id")[:LATEST]),
        "made_at": timezone.now(),
    }


def jobs_by_day() -> list[Day]:
    """The last DAYS days, oldest first. A day that is over is counted once an hour."""
    days = [midnight(ago) for ago in reversed(range(DAYS))]
    past = [cache.get_or_set(f"studio.day.{day:%Y%m%d}", lambda day=day: count_day(day), PAST_DAY_SECONDS) for day in days[:-1]]
    return [*past, count_day(days[-1])]  # type: ignore[list-item]


def count_day(day: datetime) -> Day:
    """By state; the newest MOST_A_DAY jobs of the day at most."""
    made = Job.objects.filter(pk__gte=first_id_of(day), pk__lt=first_id_of(day + timedelta(days=1))).order_by("-pk")
    return Day(day, dict(Counter(made.values_list("status", flat=True)[:MOST_A_DAY])))


def run_times() -> list[RunTime]:
    """The busiest of the models come first."""
    rows = []
    for model_id in used_models(Job)[:MOST_MODELS]:
        done = Job.objects.filter(status=Status.SUCCEEDED, model_id=model_id).order_by("-id")
        times = done.values_list("started_at", "finished_at")[:RECENT_RUNS]
        seconds = sorted(value for value in (between(*pair) for pair in times) if value is not None)
        if seconds:
            rows.append(RunTime(model_id, len(seconds), median(seconds), ninth_decile(seconds)))
    return sorted(rows, key=lambda row: -row.runs)


def ninth_decile(ordered: Sequence[float]) -> float:
    """The least value that nine in ten do not exceed (nearest rank): never below the median."""
    return ordered[math.ceil(0.9 * len(ordered)) - 1]


def queue_now() -> dict[str, object]:
    queued = Job.objects.filter(status=Status.QUEUED)
    oldest = queued.order_by("id").values_list("created_at", flat=True).first()
    count = queued.order_by()[: MOST_COUNTED + 1].count()
    return {
        "queued": f"{min(count, MOST_COUNTED):,}{'+' if count > MOST_COUNTED else ''}",
        "running": Job.objects.filter(status=Status.RUNNING).order_by()[:MOST_COUNTED].count(),
        "oldest": seconds_text(between(oldest, timezone.now())) if oldest else None,
    }


def describe_worker(worker: Worker) -> dict[str, object]:
    device = worker.device.get("device", {})
    age = between(worker.heartbeat_at, timezone.now()) or 0.0
    return {
        "worker": worker,
        "device": device.get("name") or device.get("type") or "device not known yet",
        "dtype": worker.device.get("dtype", ""),
        "models": [(model["id"], bytes_text(model.get("bytes"))) for model in worker.loaded_models],
        "heartbeat": seconds_text(age),
        "silent": age > settings.JOB_LEASE_SECONDS,
    }


def media_size() -> int:
    """The one query here that grows with the number of pictures; it reads small rows, once in DISK_SECONDS."""
    return StoredFile.objects.aggregate(sum=Sum("size"))["sum"] or 0


def disk() -> dict[str, object]:
    """Of the disk that holds the pictures; where they are elsewhere, of the data folder's."""
    usage = disk_usage(media_folder() or settings.DATA_DIR)
    media = cache.get_or_set("studio.media", media_size, DISK_SECONDS) or 0
    return {
        "media": bytes_text(media),
        "free": bytes_text(usage.free),
        "total": bytes_text(usage.total),
        "media_percent": round(100 * media / usage.total, 2) if media_folder() else 0,
        "used_percent": round(100 * (usage.total - usage.free) / usage.total, 2),
        "low": usage.free < 2 * settings.MIN_FREE_DISK_BYTES,
    }
