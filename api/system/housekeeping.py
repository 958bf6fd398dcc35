"""What the worker tidies every ten minutes: old events and jobs, files without rows, uploads that no job uses."""

import logging

from api.files.sweep import SweepReport, sweep_orphans
from api.jobs.sweep import clean_history

log = logging.getLogger("darkroom.worker")


def clean() -> None:
    clean_history()
    report = sweep_orphans()
    if report != SweepReport():
        log.info("Tidied: %s", report)
