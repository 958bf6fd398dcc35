"""Whose previews somebody sees: web processes say it again and again while a stream is open, workers ask."""

import json
import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta

from django.db.models.functions import Now

from api.jobs.models import PreviewWatch
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.statements import is_postgres, run
from api.jobs.store.transitions import clock, is_one_of, stored

WATCH_SECONDS = 6.0


def extend_watches(job_ids: Collection[uuid.UUID]) -> None:
    """These are watched for WATCH_SECONDS from now, by the database's clock."""
    given = json.dumps(
        [stored("id", job_id) for job_id in sorted(job_ids)], default=str
    )  # sorted: no deadlock of two processes
    with atomic_without_sync():
        run(extension(), [given])


def extension() -> str:
    """Of jobs in one parameter: a process with hundreds of streams says it every two seconds, and makes no objects for it."""
    job_id, each = ("value::uuid", "jsonb_array_elements_text(%s::jsonb)") if is_postgres() else ("value", "json_each(%s)")
    return f"""INSERT INTO {PreviewWatch._meta.db_table} (job_id, watched_until)
        SELECT {job_id}, {clock(WATCH_SECONDS)} FROM {each} AS given WHERE TRUE
        ON CONFLICT (job_id) DO UPDATE SET watched_until = excluded.watched_until RETURNING 1"""


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
