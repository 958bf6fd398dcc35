"""A worker of the queue with everything that Darkroom's capabilities need: for `manage.py worker`, and for a Celery worker alike."""

import logging
import uuid

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from api.jobs.worker.loop import WorkerLoop
from api.system.media_checks import describe_absence, try_storage

log = logging.getLogger("darkroom.worker")


def make_worker(worker_id: uuid.UUID | None = None) -> WorkerLoop:
    """Its row is there when this returns; call `prepare` before it claims."""
    from api.library.follow import start_following
    from api.system.ended_job_counts import count_ended_jobs
    from api.system.maintenance import clean
    from api.system.totals import ensure_adding
    from api.system.worker_runtime import describe_runtime, held_models, warm_up

    describe = describe_runtime if settings.LOAD_MODELS else dict
    warm = warm_up if settings.LOAD_MODELS and settings.USE_LOCAL_MODELS else None
    start_following()
    ensure_adding(count_ended_jobs)
    held = held_models if settings.LOAD_MODELS else None
    return WorkerLoop(worker_id=worker_id, describe=describe, clean=clean, warm_up=warm, held_models=held)


def prepare() -> None:
    """Raises ImproperlyConfigured where the storage of pictures refuses this machine: every job that it took would fail."""
    from api.system.worker_runtime import start_runtime

    try:
        if refusal := try_storage():
            raise ImproperlyConfigured(refusal)
    except OSError as error:
        log.warning("%s", describe_absence(error))
    if settings.LOAD_MODELS:
        start_runtime()


def make_prepared_worker() -> WorkerLoop:
    """What the setting WORKER_FACTORY names: for processes that something else has started, such as Celery."""
    from api.system.versions import start_reporting

    worker = make_worker()
    start_reporting("worker")
    prepare()
    return worker
