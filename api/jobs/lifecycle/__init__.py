"""Everything that changes a job: submit, claim, finish, fail, cancel, retry, hand back.

Each transition is one UPDATE on (id, status, lease_token) whose row count must be 1, by the database's clock. The same code runs on
SQLite (where transactions begin IMMEDIATE) and on PostgreSQL (where candidates are locked, those that others hold skipped).
"""

from api.jobs.lifecycle.cancel import cancel_job
from api.jobs.lifecycle.claim import cancelled_ids, claim_jobs, claim_joining, extend_leases, leaving, rows_before_others
from api.jobs.lifecycle.dead_workers import release_dead_workers
from api.jobs.lifecycle.end import acknowledge_cancel, emit_event, end_job, fail_job, finish_job, is_recorded, transition
from api.jobs.lifecycle.progress import record_progress
from api.jobs.lifecycle.requeue import fail_jobs_of_ended_workers, hand_back, hand_back_all, release_worker
from api.jobs.lifecycle.submit import add_child, expect, expected, new_row, retry_job, submit_job

__all__ = [
    "acknowledge_cancel",
    "add_child",
    "cancel_job",
    "cancelled_ids",
    "claim_jobs",
    "claim_joining",
    "emit_event",
    "end_job",
    "expect",
    "expected",
    "extend_leases",
    "fail_job",
    "fail_jobs_of_ended_workers",
    "finish_job",
    "hand_back",
    "hand_back_all",
    "is_recorded",
    "leaving",
    "new_row",
    "record_progress",
    "release_dead_workers",
    "release_worker",
    "retry_job",
    "rows_before_others",
    "submit_job",
    "transition",
]
