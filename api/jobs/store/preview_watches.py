"""Whose previews somebody sees: web processes say it again and again while a stream is open, workers ask."""

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta

from django.db.models.functions import Now

from api.jobs.models import PreviewWatch
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.statements import run
from api.jobs.store.transitions import clock, is_one_of

WATCH_SECONDS = 6.0


def extend_watches(job_ids: Collection[uuid.UUID]) -> None:
    """These are watched for WATCH_SECONDS from now, by the database's clock."""
    until = Now() + timedelta(seconds=WATCH_SECONDS)
    rows = [
        PreviewWatch(job_id=job_id, watched_until=until) for job_id in sorted(job_ids)
    ]  # sorted: no deadlock of two processes
    with atomic_without_sync():
        PreviewWatch.objects.bulk_create(rows, update_conflicts=True, unique_fields=["job_id"], update_fields=["watched_until"])


def watched_among(job_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """A time further ahead than any is given counts as past: since it was written, the clock has been set back. By a second at least:
    SQLite compares texts, of which the ORM writes more digits than its clock has.
    """
    is_one, params = is_one_of(job_ids)
    within = f"watched_until BETWEEN {clock()} AND {clock(WATCH_SECONDS + 1)}"
    rows = run(f"SELECT job_id FROM {PreviewWatch._meta.db_table} WHERE job_id {is_one} AND {within}", params)
    return {uuid.UUID(str(job_id)) for (job_id,) in rows}


def delete_ended_watches() -> None:
    PreviewWatch.objects.exclude(watched_until__range=(Now(), Now() + timedelta(seconds=WATCH_SECONDS))).delete()
