"""Ends a worker process that hangs: no job of its has made a step for JOB_STUCK_SECONDS."""

import logging
import os
import time
from collections.abc import Sequence

from django.conf import settings

from api.jobs.running import RunningJob
from api.jobs.worker.warming import WarmUp
from api.specs import Spec

log = logging.getLogger("darkroom.worker")
STUCK_EXIT = 75


def end_if_hanging(runs: Sequence[RunningJob[Spec]], warm_up: WarmUp | None) -> None:
    """Cooperative cancelling can't end a thread that hangs in the device: the process ends, and its rows are handed back."""
    if warm_up is not None and warm_up.is_stuck():
        log.critical("The warm-up hangs: this worker ends itself, and the next one makes none")
        warm_up.record_hang()
        os._exit(STUCK_EXIT)
    silent = [time.monotonic() - run.last_activity for run in runs if not run.ended]
    if silent and min(silent) > settings.JOB_STUCK_SECONDS:
        log.critical("No step for %.0f s: this worker hangs and ends itself", min(silent))
        os._exit(STUCK_EXIT)
