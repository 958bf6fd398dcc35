"""Where a job runs best: a row whose model another worker holds is left to that worker, for PLACEMENT_SECONDS at most."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings

from api.jobs import lifecycle
from api.jobs.kinds import get_kind, kind_names
from api.jobs.models import Worker
from api.jobs.store.workers import model_holders
from api.metric_definitions import placement_seconds

LOOK_SECONDS = 1.5  # how long what other workers hold is taken as known; a worker that waits looks more often
MODELS_PER_LOOK = 250
"""Models in the memories of others, counted once for each: with so many times more, a worker looks so much less often. In a fleet all
look at all: without this the database does nothing else (docs/scale.md)."""


def kinds_taken() -> list[str]:
    """The kinds of which this process can run jobs; of some of them perhaps not all (`JobKind.without_models`)."""
    return [name for name in kind_names() if settings.LOAD_MODELS or get_kind(name).without_models() is not False]


class Placement:
    """One worker's view. `held_models` gives the ids of those in its own memory."""

    def __init__(self, worker: Worker, held_models: Callable[[], set[str]]) -> None:
        self.worker, self.held_models = worker, held_models
        self.elsewhere: set[str] = set()
        self.next_look = 0.0
        self.left_since: dict[uuid.UUID, float] = {}
        """The rows at the head of the queue that this worker leaves to others, and since when."""

    def condition(self) -> tuple[str, list[Any]]:
        """Of the rows that this worker takes now, with its parameters."""
        now = time.monotonic()
        if now >= self.next_look:
            self.refresh()
        if not self.elsewhere:
            self.leave([], now)
            return "TRUE", []
        passed = lifecycle.rows_before_others(worker=self.worker, models=self.elsewhere)
        self.leave(passed, now)
        due = [job_id for job_id, since in self.left_since.items() if now - since >= settings.PLACEMENT_SECONDS]
        return lifecycle.leaving(self.worker, self.elsewhere, but=due)

    def leave(self, passed: Sequence[uuid.UUID], now: float) -> None:
        """Those that are not among them any more have been claimed, here or elsewhere."""
        for job_id in self.left_since.keys() - set(passed):
            placement_seconds.observe(now - self.left_since[job_id])
        self.left_since = {job_id: self.left_since.get(job_id, now) for job_id in passed}

    def refresh_for(self, seconds: float) -> None:
        """Before a wait of so long at most: the job that ends it needn't wait until this is looked up."""
        if self.next_look < time.monotonic() + seconds:
            self.refresh()

    def refresh(self) -> None:
        """What other workers hold."""
        holders = model_holders(self.worker.pk)
        self.next_look = time.monotonic() + LOOK_SECONDS * max(1.0, sum(holders.values()) / MODELS_PER_LOOK)
        self.elsewhere = set(holders) - self.held_models() if holders else set()

    def seconds_to_wait(self, longest: float) -> float:
        """Until the next row that was left has waited for long enough."""
        if not self.left_since:
            return longest
        left = min(self.left_since.values()) + settings.PLACEMENT_SECONDS - time.monotonic()
        return min(longest, max(0.01, left))
