"""The queue's hot statements, by hand: composing them takes Django several times as long as running them takes the database.

SQLite and PostgreSQL read the same SQL; what differs is in `clock`, `in_order` and `locking`. Statuses are written as literals,
so that the partial indexes fit. Values go through the models' fields, and so are stored as the ORM stores them.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from api.jobs.models import Job, JobEvent

JOB, EVENT = Job._meta.db_table, JobEvent._meta.db_table
EVENT_FIELDS = [JobEvent._meta.get_field(name) for name in ("job", "sequence", "type", "data")]


class Moment(str):
    """SQL that the database's clock answers; never a parameter."""


def clock(seconds: float = 0) -> Moment:
    """The database's time, so many seconds from now, in the form in which the ORM stores it."""
    if connection.vendor == "postgresql":
        return Moment(f"STATEMENT_TIMESTAMP() + INTERVAL '{seconds:.3f} seconds'")
    return Moment(f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', '{seconds:+.3f} seconds')")


def in_order() -> str:
    """SQLite, left alone, reads the whole queue by status and sorts it; PostgreSQL finds the index by itself."""
    return "INDEXED BY job_queue" if connection.vendor == "sqlite" else ""


def locking(clause: str) -> str:
    """SQLite's transactions begin IMMEDIATE: they hold the whole database."""
    return clause if connection.features.has_select_for_update else ""


def stored(field: str, value: Any) -> Any:
    return Job._meta.get_field(field).get_db_prep_save(value, connection)  # type: ignore[union-attr]


def fence(job: Job, status: str) -> tuple[str, list[Any]]:
    """The row while it is `status` under the lease of `job`: the condition of everything that changes it."""
    same_lease = "lease_token IS NULL" if job.lease_token is None else "lease_token = %s"
    lease = [] if job.lease_token is None else [stored("lease_token", job.lease_token)]
    return f"id = %s AND status = %s AND {same_lease}", [stored("id", job.pk), str(status), *lease]


def lock_row(job: Job, status: str) -> tuple[int, dict[str, Any]] | None:
    """event_sequence and progress, the row locked until the transaction ends; None where the fence holds it back."""
    condition, params = fence(job, status)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT event_sequence, progress FROM {JOB} WHERE {condition} {locking('FOR UPDATE')}", params)
        row = cursor.fetchone()
    return row and (row[0], json.loads(row[1]))


def update(job: Job, status: str, changes: dict[str, Any]) -> int:
    """One UPDATE behind the fence; how many rows it changed."""
    columns = {Job._meta.get_field(name).column: (name, value) for name, value in changes.items()}  # type: ignore[union-attr]
    settings = ", ".join(f"{column} = {value if isinstance(value, Moment) else '%s'}" for column, (_, value) in columns.items())
    values = [stored(name, value) for name, value in columns.values() if not isinstance(value, Moment)]
    condition, params = fence(job, status)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {JOB} SET {settings} WHERE {condition}", [*values, *params])
        return cursor.rowcount


def claim(
    *, worker_id: uuid.UUID, token: uuid.UUID, lease: float, limit: int, only: str = "TRUE", params: Sequence[Any] = ()
) -> list[Job]:
    """Takes the first `limit` of the queued rows whose time has come, under `token`; on PostgreSQL none that others lock.

    The CTE is materialized: a plan that ran it twice would take more than `limit`.
    """
    jobs = Job.objects.raw(
        f"""WITH picked AS MATERIALIZED (
                SELECT id FROM {JOB} {in_order()} WHERE status = 'queued' AND available_at <= {clock()} AND {only}
                ORDER BY priority DESC, id LIMIT %s {locking("FOR UPDATE SKIP LOCKED")})
            UPDATE {JOB} SET status = 'running', attempt = attempt + 1, event_sequence = event_sequence + 1, progress = %s,
                worker_id = %s, lease_token = %s, lease_expires_at = {clock(lease)}, started_at = {clock()}
            WHERE status = 'queued' AND id IN (SELECT id FROM picked) RETURNING *""",
        [*params, limit, stored("progress", {}), stored("worker", worker_id), stored("lease_token", token)],
    )
    return sorted(jobs, key=lambda job: (-job.priority, job.pk))


def add_events(rows: Iterable[tuple[Job, int, str, dict[str, Any]]]) -> None:
    """In one INSERT; their time is the column's default."""
    values = [
        field.get_db_prep_save(value, connection)  # type: ignore[union-attr]
        for job, *rest in rows
        for field, value in zip(EVENT_FIELDS, (job.pk, *rest), strict=True)
    ]
    places = ", ".join(["(%s, %s, %s, %s)"] * (len(values) // 4))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {EVENT} (job_id, sequence, type, data) VALUES {places}", values)


def has_row(number: int, where: str, params: Sequence[Any]) -> bool:
    """Whether there are so many jobs; reads no more index entries than that."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {JOB} WHERE {where} LIMIT 1 OFFSET %s", [*params, number - 1])
        return cursor.fetchone() is not None
