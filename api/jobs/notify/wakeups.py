"""Who is told that there is work, and who is told that something happened. Best effort: queued rows are the truth."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import DatabaseError, transaction

from api.jobs.notify.channels import Listener, ring

log = logging.getLogger("darkroom.jobs")


def _nobody_supervises() -> None:
    raise RuntimeError("django.setup() has not run: nobody supervises the embedded worker")


start_embedded_worker: Callable[[], None] = _nobody_supervises
"""apps.py sets it: who supervises the worker changes jobs too, and each change of theirs rings from here."""


class DeferredNotification(threading.local):
    """A worker's ring for the web that waits for its next claim, which rings the web anyway."""

    waits = False
    owed = False


_ring = DeferredNotification()


def notify_workers_on_commit(job_id: object) -> None:
    """Once the row is committed: wake the workers, here or behind the broker."""
    transaction.on_commit(lambda: wake_workers(str(job_id)), robust=True)


def notify_lease_keepers_on_commit() -> None:
    """A cancellation was asked for: who keeps the leases passes it on."""
    transaction.on_commit(lambda: notify_quietly("keeper"), robust=True)


def notify_web_on_commit() -> None:
    transaction.on_commit(lambda: notify_quietly("web"), robust=True)


def notify_web_of_end_on_commit() -> None:
    """A job has ended. Within `deferred_web_notification` the ring is owed."""
    transaction.on_commit(_notify_or_defer, robust=True)


def _notify_or_defer() -> None:
    if _ring.waits:
        _ring.owed = True
    else:
        notify_quietly("web")


@contextmanager
def deferred_web_notification(*, when: bool) -> Iterator[None]:
    """Within the block this thread only notes that the web is to hear of a job's end; `flush_web_notification` must follow at once."""
    _ring.waits = when
    try:
        yield
    finally:
        _ring.waits = False


def flush_web_notification(*, rung: bool = False) -> None:
    """`rung`: the web has been rung since, for another reason."""
    owed, _ring.owed = _ring.owed, False
    if owed and not rung:
        notify_quietly("web")


def wake_workers(job_id: str) -> None:
    if settings.JOB_RUNNER == "embedded":
        start_embedded_worker()
    if settings.JOB_RUNNER == "celery":
        publish(job_id)
    notify_quietly("worker")


def notify_quietly(listener: Listener) -> None:
    try:
        ring(listener)
    except (OSError, DatabaseError) as error:
        log.warning("A wake-up was lost (%s); the sweep will find the row", error.__class__.__name__)


def publish(job_id: str) -> None:
    """A wake-up through the broker that carries only the job's id. A broker that is down costs a delay, never a job."""
    from config.celery import app

    try:
        app.send_task("darkroom.wake", args=[job_id], retry=False)
    except Exception as error:  # every transport has exceptions of its own
        log.warning("The broker took no wake-up (%s); the sweep will ring again", error.__class__.__name__)
