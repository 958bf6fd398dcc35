"""Who is told that there is work, and who is told that something happened. Best effort: queued rows are the truth."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import DatabaseError, transaction

from api.jobs.bell import Listener, ring

log = logging.getLogger("darkroom.jobs")


def _nobody_supervises() -> None:
    raise RuntimeError("django.setup() has not run: nobody supervises the embedded worker")


start_embedded_worker: Callable[[], None] = _nobody_supervises
"""apps.py sets it: who supervises the worker changes jobs too, and each change of theirs rings from here."""


class OwedRing(threading.local):
    """A worker's ring for the web that waits for its next claim, which rings the web anyway."""

    waits = False
    owed = False


_ring = OwedRing()


def ring_workers_on_commit(job_id: object) -> None:
    """Once the row is committed: wake the workers, here or behind the broker."""
    transaction.on_commit(lambda: wake_workers(str(job_id)), robust=True)


def ring_keepers_on_commit() -> None:
    """A cancellation was asked for: who keeps the leases passes it on."""
    transaction.on_commit(lambda: ring_quietly("keeper"), robust=True)


def ring_web_on_commit() -> None:
    transaction.on_commit(lambda: ring_quietly("web"), robust=True)


def ring_web_of_end_on_commit() -> None:
    """A job has ended. Within `web_ring_waits` the ring is owed."""
    transaction.on_commit(_ring_or_owe, robust=True)


def _ring_or_owe() -> None:
    if _ring.waits:
        _ring.owed = True
    else:
        ring_quietly("web")


@contextmanager
def web_ring_waits(*, when: bool) -> Iterator[None]:
    """Within the block this thread only notes that the web is to hear of a job's end; `give_owed_ring` must follow at once."""
    _ring.waits = when
    try:
        yield
    finally:
        _ring.waits = False


def give_owed_ring(*, rung: bool = False) -> None:
    """`rung`: the web has been rung since, for another reason."""
    owed, _ring.owed = _ring.owed, False
    if owed and not rung:
        ring_quietly("web")


def wake_workers(job_id: str) -> None:
    if settings.JOB_RUNNER == "embedded":
        start_embedded_worker()
    if settings.JOB_RUNNER == "celery":
        publish(job_id)
    ring_quietly("worker")


def ring_quietly(listener: Listener) -> None:
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
