"""Parents and their children: locks in one order, and counts.

A transaction that ends a child changes the child and its parent, and one that cancels a parent the other way round. So that they never
wait for each other, everybody locks from the top down: a job's ancestors before the job itself.
"""

import uuid
from typing import Any

from api.jobs.models import Job
from api.jobs.states import FINAL
from api.jobs.store.statements import is_postgres, run
from api.jobs.store.transitions import JOB, stored

ENDED = ", ".join(f"'{status.value}'" for status in FINAL)


def lock_ancestors(job: Job) -> None:
    """Until the transaction ends; nothing for a job without a parent, and on SQLite, where the transaction has the whole database."""
    if job.parent_id and is_postgres():
        lock_from_above(job.parent_id)


def lock_from_above(job_id: uuid.UUID) -> None:
    """Whose child a job is never changes, so that may be asked before."""
    params = [stored("id", job_id)]
    for (parent_id,) in run(f"SELECT parent_id FROM {JOB} WHERE id = %s AND parent_id IS NOT NULL", params):
        lock_from_above(parent_id)
    run(f"SELECT 1 FROM {JOB} WHERE id = %s FOR UPDATE", params)


def progress_of_children(parent_id: uuid.UUID) -> dict[str, Any]:
    """How many have ended, as the progress of their parent."""
    counts = f"COUNT(CASE WHEN status IN ({ENDED}) THEN 1 END), COUNT(*)"
    [(ended, count)] = run(f"SELECT {counts} FROM {JOB} WHERE parent_id = %s", [stored("id", parent_id)])
    return {"fraction": round(ended / count, 4) if count else 0.0, "step": ended, "steps": count}
