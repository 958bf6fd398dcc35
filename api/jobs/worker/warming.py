"""What a worker prepares before it says that it is ready: bounded, and never the reason why nothing runs."""

import logging
import threading
import time
import uuid
from collections.abc import Callable

from django.conf import settings

from api.jobs.errors import CONNECTION_ERRORS, JobCancelled
from api.jobs.start_failures import record_hung_warm_up, warm_up_has_hung

log = logging.getLogger("darkroom.worker")
WARM_UP_SECONDS = 120.0
HUNG = "A warm-up on this machine hung, so none is made for an hour; the first request loads its model."
SLOW = "The warm-up took longer than {seconds:.0f} s and was stopped; the first request may load its model."
FAILED = "The warm-up failed; the first request loads its model, or tells what is wrong. The server's log has more."
Work = Callable[[Callable[[], bool]], None]
"""What is prepared. It asks on the way whether it should stop, and raises JobCancelled then."""


class WarmUp:
    """Runs once, in the thread that runs models. `failure`: why it was not done, for status; '' where it was."""

    def __init__(self, work: Work, worker_id: uuid.UUID, stopping: threading.Event) -> None:
        self.work, self.worker_id, self.stopping = work, worker_id, stopping
        self.failure = ""
        self.deadline = 0.0
        self.last_activity: float | None = None
        """While it runs."""

    def run(self) -> None:
        try:
            if warm_up_has_hung():
                self.failure = HUNG
            else:
                self.deadline = time.monotonic() + WARM_UP_SECONDS
                self.last_activity = time.monotonic()
                self.work(self.should_stop)
        except JobCancelled:
            self.failure = "" if self.stopping.is_set() else SLOW.format(seconds=WARM_UP_SECONDS)
        except Exception:
            log.warning("The warm-up failed", exc_info=True)
            self.failure = FAILED
        finally:
            self.last_activity = None
        if self.failure:
            log.warning(self.failure)

    def should_stop(self) -> bool:
        self.last_activity = time.monotonic()
        return self.stopping.is_set() or time.monotonic() > self.deadline

    def is_stuck(self) -> bool:
        """Nothing was heard of it for as long as a job may be silent. Called by the lease keeper."""
        activity = self.last_activity
        return activity is not None and time.monotonic() - activity > settings.JOB_STUCK_SECONDS

    def record_hang(self) -> None:
        """So that the worker that is started next makes no warm-up."""
        try:
            record_hung_warm_up(self.worker_id)
        except CONNECTION_ERRORS:
            log.warning("That the warm-up hung could not be recorded", exc_info=True)
