"""What the worker tidies every ten minutes: old events and jobs, files without rows, uploads that no job uses."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from api.files.sweep import SweepReport, sweep_orphans
from api.jobs.store.deletion_slices import never
from api.jobs.worker.retention import clean_history
from api.safety.rules.retention import delete_old_matches
from api.system.ended_job_counts import count_ended_jobs

log = logging.getLogger("darkroom.worker")
DAY_SECONDS = 86400.0
RECENT_DAYS = 2  # a crash leaves orphans in today's folder; the whole tree is only walked once a day

_foreign_told = 0
_next_full_sweep = time.monotonic() + DAY_SECONDS


def clean(should_stop: Callable[[], bool] = never) -> None:
    global _next_full_sweep
    count_ended_jobs()  # before old jobs go
    clean_history(should_stop)
    delete_old_matches(should_stop)
    if should_stop():
        return
    full = time.monotonic() >= _next_full_sweep
    if full:
        _next_full_sweep = time.monotonic() + DAY_SECONDS
    tell(sweep_orphans(days=None if full else RECENT_DAYS))


def tell(report: SweepReport) -> None:
    """What stays is told once, and not each ten minutes."""
    global _foreign_told
    if report.foreign > _foreign_told:
        _foreign_told = report.foreign
        log.warning(
            "%d files in the storage of pictures are older than this database and no row names them: they are another database's, and stay."
            " Does DATABASE_URL name the right one?",
            report.foreign,
        )
    if replace(report, foreign=0) != SweepReport():
        log.info("Tidied: %s", report)
