"""Sends wake-ups to workers and web processes. Best effort: a lost wake-up only delays a job, since the sweep finds its row."""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction
from django.dispatch import Signal

from api.jobs.models import Job
from api.jobs.notify.channels import STEP, Channel, channel_name, notify
from api.jobs.store.statements import is_postgres

log = logging.getLogger("darkroom.jobs")

work_waiting = Signal()
"""Sent with `job_id` when a queued row may need a worker. Receivers start one (worker/supervisor.py) or tell the broker of one
(notify/broker.py)."""


class DeferredNotification(threading.local):
    """A notification to the web that waits for this thread's next claim, which sends one anyway."""

    active = False
    pending = False


_deferred = DeferredNotification()


def notify_workers_on_commit(job_id: object) -> None:
    """Once the row is committed: wake the workers, here or behind the broker."""
    transaction.on_commit(lambda: wake_workers(str(job_id)), robust=True)


def notify_lease_keepers_on_commit() -> None:
    """A cancellation was asked for: the lease keepers pass it on."""
    transaction.on_commit(lambda: notify_quietly("lease_keeper"), robust=True)


def notify_web_on_commit() -> None:
    transaction.on_commit(lambda: notify_quietly("web"), robust=True)


def notify_web_of_end_on_commit() -> None:
    """A job has ended. Within `deferred_web_notification` it is postponed."""
    transaction.on_commit(_notify_or_defer, robust=True)


def notify_webhooks_on_commit(job: Job) -> None:
    """What its receiver is told has changed."""
    if job.webhook:
        transaction.on_commit(lambda: notify_quietly("webhooks"), robust=True)


def step_sql() -> str:
    """SQL that tells of a step as part of the statement that takes it on PostgreSQL, which spares a round trip; '' on SQLite.

    An end that waits to be told is told by it, too: the web then asks how its jobs stand.
    """
    if not is_postgres():
        return ""
    web = web_notification_sql("" if _deferred.pending else STEP)
    return f"{web}, CASE WHEN webhook IS NOT NULL THEN pg_notify('{channel_name('webhooks')}', '') END"


def tell_of_step_after_statement(jobs: Iterable[Job]) -> None:
    """After a statement with `step_sql` that has changed these jobs: what is left to do on SQLite."""
    if is_postgres():
        return
    word = "" if _deferred.pending else STEP
    transaction.on_commit(lambda: notify_quietly("web", word), robust=True)
    for job in jobs:
        notify_webhooks_on_commit(job)


def web_notification_sql(word: str = "") -> str:
    return f"pg_notify('{channel_name('web')}', '{word}')"


def _notify_or_defer() -> None:
    if _deferred.active:
        _deferred.pending = True
    else:
        notify_quietly("web")


@contextmanager
def deferred_web_notification(*, when: bool) -> Iterator[None]:
    """Within the block this thread postpones notifications of a job's end; `flush_web_notification` must follow at once."""
    _deferred.active = when
    try:
        yield
    finally:
        _deferred.active = False


def flush_web_notification(*, already_sent: bool = False) -> None:
    """`already_sent`: the web has been notified since, for another reason."""
    pending, _deferred.pending = _deferred.pending, False
    if pending and not already_sent:
        notify_quietly("web")


def take_deferred_notification_sql() -> str:
    """On PostgreSQL the SQL of the notification that waits, for the caller's next statement; '' where none waits, or it goes on waiting."""
    is_taken = _deferred.pending and is_postgres()
    _deferred.pending = _deferred.pending and not is_taken
    return web_notification_sql() if is_taken else ""


def wake_workers(job_id: str) -> None:
    work_waiting.send(sender=None, job_id=job_id)
    notify_quietly("worker")


def notify_quietly(channel: Channel, word: str = "") -> None:
    try:
        notify(channel, word)
    except (OSError, DatabaseError) as error:
        log.warning("A wake-up was lost (%s); the sweep will find the row", error.__class__.__name__)
