"""The outbox: a row (JobEnding) for each job that ends, written by the statement that ends it, and given to each reader exactly once,
whatever the number of processes that read.

A reader is a boolean column of JobEnding: False until it has processed the row (`dispatched`: True from the start where the job has no
webhook). In one transaction it takes rows (`take_unread`), does what it does with them, and they are marked. Rows are deleted once every
reader has processed them and EVENT_RETENTION_HOURS are over.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.db.models.functions import Now

from api.jobs.models import JobEnding
from api.jobs.store.deletion_slices import Slices
from api.jobs.store.statements import is_postgres

Reader = Literal["counted", "dispatched"]
READERS: tuple[Reader, ...] = ("counted", "dispatched")
CHUNK = 1000


def outbox_rows() -> str:
    """The INSERT of a row of the outbox for each changed job; its parameters are the pictures, pixels and bytes that it made."""
    columns = """job_id, kind, model_id, owner_key, status, seconds, created_at, webhook, timings, reason, submitted_at,
        pictures, pixels, bytes, counted, dispatched"""
    numbers = "%s::integer, %s::bigint, %s::bigint" if is_postgres() else "%s, %s, %s"
    return f"""INSERT INTO {JobEnding._meta.db_table} ({columns})
        SELECT id, kind, model_id, owner_key, status, {seconds_run()}, finished_at, webhook, timings,
            {reason()}, created_at, {numbers}, FALSE, webhook IS NULL FROM changed"""


def reason() -> str:
    return "COALESCE(SUBSTR(error ->> 'code', 1, 60), '')"


def seconds_run() -> str:
    """The difference between a row's start and its end; NULL where it never started."""
    if is_postgres():
        return "EXTRACT(EPOCH FROM finished_at - started_at)"
    return "(JULIANDAY(finished_at) - JULIANDAY(started_at)) * 86400.0"


def take_unread(reader: Reader, only: Sequence[int] | None = None) -> list[JobEnding]:
    """Up to CHUNK rows, of those with the ids `only`, marked as read by the caller's transaction; [] when nothing is left.

    The rows are locked: another process that reads at the same time waits, and then takes what comes after them.
    """
    unread = JobEnding.objects.select_for_update().filter(**{reader: False}).order_by("pk")
    if only is not None:
        unread = unread.filter(pk__in=only)
    endings = list(unread[:CHUNK])
    JobEnding.objects.filter(pk__in=[ending.pk for ending in endings]).update(**{reader: True})
    return endings


def delete_read_endings(slices: Slices) -> None:
    """What every reader has processed, past its retention."""
    read = JobEnding.objects.filter(**dict.fromkeys(READERS, True)).order_by("pk")
    old = read.filter(created_at__lt=Now() - timedelta(hours=settings.EVENT_RETENTION_HOURS))
    slices.run(
        lambda size: list(old.values_list("pk", flat=True)[:size]), lambda ids: JobEnding.objects.filter(pk__in=ids).delete
    )
