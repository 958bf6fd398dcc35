"""What is new of many jobs, each from the event on that its reader has: in one statement, which sees all of it as it was at one moment."""

import json
import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from api.jobs.models import JobEvent
from api.jobs.store.statements import is_postgres, run
from api.jobs.store.transitions import EVENT, JOB, stored

Position = tuple[uuid.UUID, int]
"""A job, and the number of the last event that is known of it."""


@dataclass
class Unread:
    """`status` is None of a job that is not there (any more)."""

    status: str | None = None
    events: list[JobEvent] = field(default_factory=list)


def read_unread(asked: Collection[Position]) -> dict[Position, Unread]:
    given = json.dumps([[stored("id", job_id), after] for job_id, after in set(asked)], default=str)
    found: dict[Position, Unread] = defaultdict(Unread)
    for job_id, after, status, sequence, type, data in run(statement(), [given]):
        job_id = uuid.UUID(str(job_id))
        unread = found[job_id, after]
        unread.status = status
        if sequence is not None:
            unread.events.append(JobEvent(job_id=job_id, sequence=sequence, type=type, data=json.loads(data)))
    return found


def statement() -> str:
    """The jobs come in one parameter, so that it is the same however many there are."""
    if is_postgres():
        given = "SELECT (value->>0)::uuid AS id, (value->>1)::int AS after FROM jsonb_array_elements(%s::jsonb) AS given(value)"
    else:
        given = "SELECT value ->> 0 AS id, value ->> 1 AS after FROM json_each(%s)"
    return f"""SELECT asked.id, asked.after, {JOB}.status, {EVENT}.sequence, {EVENT}.type, {EVENT}.data
        FROM ({given}) AS asked CROSS JOIN {JOB} LEFT JOIN {EVENT}
            ON {EVENT}.job_id = {JOB}.id AND {EVENT}.sequence > asked.after
        WHERE {JOB}.id = asked.id ORDER BY {EVENT}.sequence"""  # noqa: S608
