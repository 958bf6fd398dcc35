"""What live workers hold, and which of them sweep: asked by each worker of a fleet, so the answer must not grow with its size."""

import uuid
from collections.abc import Mapping, Sequence

from django.conf import settings

from api.jobs.models import Job, Worker
from api.jobs.store.statements import is_postgres, run
from api.jobs.store.transitions import clock, stored

JOB, WORKER = Job._meta.db_table, Worker._meta.db_table
SWEEPERS = 2


def model_holders(worker_id: uuid.UUID) -> Mapping[str, int]:
    """How many live workers hold each model, this one and those that claim nothing more left out."""
    models = "JSONB_ARRAY_ELEMENTS" if is_postgres() else "JSON_EACH"
    rows = run(
        f"""SELECT held.value ->> 'id', COUNT(*) FROM {WORKER} CROSS JOIN {models}({WORKER}.loaded_models) AS held
            WHERE heartbeat_at >= {clock(-settings.JOB_LEASE_SECONDS)} AND state NOT IN ('stopped', 'draining')
            AND {WORKER}.id <> %s GROUP BY 1""",  # noqa: S608
        [stored("id", worker_id)],
    )
    return dict(rows)


def longest_lived() -> list[uuid.UUID]:
    """The SWEEPERS that have lived longest, as their heartbeats tell.

    One that has died is left out before its jobs' leases end, so that what it leaves is swept as soon as it can be. A heartbeat of the
    future counts as none: since it was written, the clock has been set back.
    """
    seconds = min(2.5 * settings.JOB_HEARTBEAT_SECONDS, settings.JOB_LEASE_SECONDS)
    rows = run(
        f"""SELECT id FROM {WORKER} WHERE state <> 'stopped' AND heartbeat_at BETWEEN {clock(-seconds)} AND {clock(seconds)}
            ORDER BY id LIMIT {SWEEPERS}"""  # noqa: S608
    )
    return [uuid.UUID(str(row[0])) for row in rows]


def is_sweeper(worker_id: uuid.UUID, longest_lived: Sequence[uuid.UUID]) -> bool:
    """Whether it is one of those; True where there are fewer than SWEEPERS."""
    return len(longest_lived) < SWEEPERS or worker_id in longest_lived


def addressed_to_nobody() -> list[uuid.UUID]:
    """Queued jobs that are for one worker alone, which has ended. In SQL, so that the index of such rows is used: every sweep asks, and
    they are few among a hundred thousand others.
    """
    rows = run(
        f"""SELECT id FROM {JOB} WHERE status = 'queued' AND only_worker_id IS NOT NULL
            AND only_worker_id NOT IN (SELECT id FROM {WORKER} WHERE state <> 'stopped') ORDER BY id"""  # noqa: S608
    )
    return [uuid.UUID(str(row[0])) for row in rows]
