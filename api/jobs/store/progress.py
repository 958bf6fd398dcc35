"""How far many running jobs are, written at once."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connection

from api.jobs.models import Job
from api.jobs.store.fair_order import locking
from api.jobs.store.statements import run
from api.jobs.store.transitions import JOB, Event, change, stored

Attempt = tuple[uuid.UUID, uuid.UUID]  # a job and a lease token


@dataclass(frozen=True)
class Unrecorded:
    """Attempts, by job and lease token, whose progress was not written."""

    lost: frozenset[Attempt] = frozenset()
    """The job is no longer running under this lease."""
    busy: frozenset[Attempt] = frozenset()
    """Its row is locked by another transaction: it can be tried again."""


@cache
def source(vendor: str) -> str:
    """SQL that reads reports from one parameter, so that the statement is the same however many there are."""
    if vendor == "postgresql":
        return """SELECT (value->>0)::uuid AS job_id, (value->>1)::uuid AS token, value->2 AS progress, value->>3 AS type, value->4 AS data
            FROM jsonb_array_elements(%s::jsonb) AS given(value)"""
    return """SELECT value ->> 0 AS job_id, value ->> 1 AS token, value ->> 2 AS progress, value ->> 3 AS type, value ->> 4 AS data
        FROM json_each(%s)"""


def held() -> str:
    """SQL for those that are running under their lease. CROSS JOIN: SQLite then begins with the reports, which are few."""
    return f"""SELECT {JOB}.id AS held_id, {JOB}.lease_token AS held_token, reports.progress AS given_progress
        FROM ({source(connection.vendor)}) AS reports CROSS JOIN {JOB}
        WHERE {JOB}.id = reports.job_id AND {JOB}.status = 'running' AND {JOB}.lease_token = reports.token"""


def write_progress(
    reports: Sequence[tuple[Job, dict[str, Any], Event]], *, exclusive_type: str = "", beside: str = ""
) -> Unrecorded:
    """Each job's progress and the event that tells of it, by one UPDATE behind the fence of each. See `change` for the options.

    On PostgreSQL rows that others have locked are passed over: this one locks several in any order, and so must not wait.
    """
    given = json.dumps(
        [
            [stored("id", job.pk), stored("lease_token", job.lease_token), progress, type, data]
            for job, progress, (type, data) in reports
        ],
        default=str,
    )
    rows = change(
        f"""WITH held AS MATERIALIZED ({held()} {locking(f"FOR NO KEY UPDATE OF {JOB} SKIP LOCKED")})
            UPDATE {JOB} SET progress = held.given_progress, event_sequence = event_sequence + 1
            FROM held WHERE {JOB}.id = held.held_id""",
        [given],
        f"""SELECT changed.id, changed.event_sequence, reports.type, reports.data
            FROM changed JOIN ({source(connection.vendor)}) AS reports
                ON reports.job_id = changed.id AND reports.token = changed.lease_token""",
        [given],
        returning="id, lease_token",
        exclusive_type=exclusive_type,
        sync=False,
        beside=beside,
    )
    missing = {attempt_of(job) for job, _, _ in reports} - read_attempts(rows)
    busy = read_attempts(run(held(), [given])) & missing if missing else set()
    return Unrecorded(frozenset(missing - busy), frozenset(busy))


def attempt_of(job: Job) -> Attempt:
    assert job.lease_token is not None
    return job.pk, job.lease_token


def read_attempts(rows: Sequence[tuple[Any, ...]]) -> set[Attempt]:
    return {(uuid.UUID(str(job_id)), uuid.UUID(str(token))) for job_id, token, *_ in rows}
