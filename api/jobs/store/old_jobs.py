"""Finds jobs past their retention, the oldest first, by hand: SQLite, left alone, reads all that have ended and sorts them."""

import uuid
from collections.abc import Iterator
from typing import Any

from api.jobs.models import Job
from api.jobs.states import FINAL
from api.jobs.store.fair_order import index_hint
from api.jobs.store.statements import run
from api.jobs.store.transitions import clock

AT_ONCE = 1000
ENDED = ", ".join(f"'{status.value}'" for status in FINAL)


def old_jobs(days: float) -> Iterator[uuid.UUID]:
    """Each once: those that have to stay aren't found again, nor what PostgreSQL's index still has of those that went. Children go with
    their parents.
    """
    condition = f"created_at < {clock(-86400 * days)} AND status IN ({ENDED}) AND parent_id IS NULL"
    after = "TRUE"
    params: list[Any] = []
    while True:
        found = run(
            f"SELECT id, created_at FROM {Job._meta.db_table} {index_hint('job_created')} WHERE {condition} AND {after}"
            f" ORDER BY created_at, id LIMIT {AT_ONCE:d}",
            params,
        )
        yield from (uuid.UUID(str(job_id)) for job_id, _ in found)
        if len(found) < AT_ONCE:
            return
        job_id, moment = found[-1]
        after, params = "created_at >= %s AND (created_at > %s OR id > %s)", [moment, moment, job_id]
