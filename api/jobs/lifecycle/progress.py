"""How far running jobs are."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from api.jobs.models import Job
from api.jobs.notify import wakeups
from api.jobs.store.durability import atomic_without_sync
from api.jobs.store.progress import Attempt, Unrecorded, write_progress
from api.jobs.store.transitions import Event


def record_progress(reports: Sequence[tuple[Job, dict[str, Any], Event]]) -> Unrecorded:
    """Each job's progress and the event that tells of it, in one transaction for all. Of each job only the newest preview is kept."""
    previews = [report for report in reports if report[2][0] == "preview"]
    others = [report for report in reports if report[2][0] != "preview"]
    lost: set[Attempt] = set()
    busy: set[Attempt] = set()
    with transaction.atomic() if previews and others else atomic_without_sync():
        for group, exclusive in ((previews, "preview"), (others, "")):
            if group:
                unrecorded = write_progress(group, exclusive_type=exclusive, beside=wakeups.step_sql())
                lost |= unrecorded.lost
                busy |= unrecorded.busy
        wakeups.tell_of_step_after_statement([job for job, _, _ in reports])
    return Unrecorded(frozenset(lost), frozenset(busy))
