"""What this server says of itself: from the Worker rows, the catalog and the disk. No torch: that lives in the worker."""

import os
import time
import uuid
from collections.abc import Container
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
from django.conf import settings

from api.catalog import ModelEntry
from api.chat.backend_selection import preferred_entry
from api.jobs import draining
from api.jobs.draining import draining_ids
from api.jobs.models import Job, Worker
from api.jobs.start_failures import start_failure, warm_up_failure
from api.jobs.states import ACTIVE, Status
from api.json_types import JsonObject
from config.catalog import get_catalog

STARTING_SECONDS = 60.0  # what an embedded worker may take from the web process's start to its first row
LOADING_KIND = "load_model"
# Of models that run here whatever USE_LOCAL_MODELS says: no hub hosts them.
JUDGING_TASKS = ("zero-shot-image-classification", "aesthetic-head", "image-aesthetics", "hazard-cells", "ocr", "upscaling")
_process_started = time.monotonic()


# ---------------------------------------------------------------- workers


def live_workers() -> list[Worker]:
    """Those whose heartbeat is younger than a lease, by the database's clock; the newest first."""
    return list(draining.live_workers())


def usable_workers(workers: list[Worker], failure: str, out: Container[uuid.UUID]) -> list[Worker]:
    """Those that run jobs, or can be expected to: not those that drain (`out`), and where the last start failed, one that starts again
    most likely fails as well.
    """
    return [worker for worker in workers if worker.pk not in out and (not failure or worker.state != Worker.State.STARTING)]


def readiness() -> str:
    """loading, ready, busy or no_worker. A process that has only just started is loading: it brings its embedded worker up."""
    failure, alive = start_failure(), live_workers()
    return server_state(usable_workers(alive, failure, draining_ids(alive)), dict(running_jobs()), failure)


def running_jobs() -> list[tuple[uuid.UUID | None, str]]:
    """The worker and the kind of each job that runs."""
    return list(Job.objects.filter(status=Status.RUNNING).order_by().values_list("worker_id", "kind"))


def server_state(workers: list[Worker], kinds: dict[uuid.UUID | None, str], failure: str) -> str:
    """no_worker, loading, busy or ready (somebody is free).

    `kinds` is what each worker runs, from the rows of running jobs: they know it at once, heartbeats come every few seconds.
    """
    if not workers:
        starting = settings.JOB_RUNNER == "embedded" and time.monotonic() - _process_started < STARTING_SECONDS
        return "loading" if starting and not failure else "no_worker"
    states = [state_of(worker, kinds.get(worker.pk)) for worker in workers]
    return next(state for state in ("ready", "busy", "loading") if state in states)


def state_of(worker: Worker, kind: str | None) -> str:
    if kind == LOADING_KIND or worker.state in (Worker.State.STARTING, Worker.State.LOADING):
        return "loading"
    return "ready" if kind is None else "busy"


def describe_worker(worker: Worker, draining: Container[uuid.UUID] = ()) -> JsonObject:
    known = worker.device
    return {
        "id": worker.pk,
        "hostname": worker.hostname,
        "state": Worker.State.DRAINING if worker.pk in draining else worker.state,
        "drained": worker.drained_at is not None,
        "kinds": worker.kinds,
        "device": known.get("device"),
        "dtype": known.get("dtype"),
        "memory": known.get("memory"),
        "models": worker.loaded_models,
        "started_at": worker.started_at,
        "heartbeat": worker.heartbeat_at,
    }


# ---------------------------------------------------------------- status


def server_status() -> JsonObject:
    failure = start_failure()
    alive = live_workers()
    draining = draining_ids(alive)
    workers = usable_workers(alive, failure, draining)
    running = running_jobs()
    return {
        "status": server_state(workers, dict(running), failure),
        "worker_error": failure or warm_up_failure(workers) or None,
        "inference_available": any(worker.state != Worker.State.STARTING for worker in workers),
        "loaded_models": loaded_ids(workers),
        "queue": {"queued": Job.objects.filter(status=Status.QUEUED).order_by().count(), "running": len(running)},
        "workers": [describe_worker(worker, draining) for worker in alive if worker in workers or worker.pk in draining],
        "system_info": system_info(workers),
    }


def loaded_ids(workers: list[Worker]) -> list[str]:
    return sorted({model["id"] for worker in workers for model in worker.loaded_models})


def system_info(workers: list[Worker]) -> JsonObject:
    """The newest worker's machine; null where only a worker knows and there is none."""
    known: JsonObject = next((worker.device for worker in workers if worker.device), {})
    memory = psutil.virtual_memory()
    return {
        "pytorch_version": known.get("pytorch_version") or installed_version("torch"),
        "cuda_available": known.get("cuda_available"),
        "cuda_version": known.get("cuda_version"),
        "device_count": known.get("device_count"),
        "devices": known.get("devices", []),
        "cpu": known.get("cpu") or {"cores": os.cpu_count()},
        "memory": known.get("memory") or {"total": memory.total, "available": memory.available},
    }


def installed_version(package: str) -> str | None:
    """From the package's metadata, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def queue_length() -> dict[str, int]:
    return {status: Job.objects.filter(status=status).order_by().count() for status in ACTIVE}


# ---------------------------------------------------------------- models


def is_available(entry: ModelEntry) -> bool:
    """Whether a job can use it without a download."""
    if not settings.USE_LOCAL_MODELS and entry.task not in JUDGING_TASKS:
        return entry.repo is not None
    store = model_store()
    return all(store.available(preferred_entry(part)) for part in get_catalog().with_base(entry))


def model_store() -> Any:
    from api.downloads.store import ModelStore  # the hub's client takes a third of a second to import

    return ModelStore(settings.MODELS_DIR, settings.HF_TOKEN or None, settings.HF_ENDPOINT or None)
