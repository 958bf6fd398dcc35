"""Where a job runs best: a row whose model another worker holds is left to that worker, for PLACEMENT_SECONDS at most."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.kinds import get_kind, kind_names
from api.jobs.models import Worker

OUT = (Worker.State.STOPPED, Worker.State.DRAINING)
LOOK_SECONDS = 1.5  # how long what other workers hold is taken as known; a worker that waits looks more often


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
            return "TRUE", []
        passed = lifecycle.rows_before_others(worker=self.worker, models=self.elsewhere)
        self.left_since = {job_id: self.left_since.get(job_id, now) for job_id in passed}
        due = [job_id for job_id, since in self.left_since.items() if now - since >= settings.PLACEMENT_SECONDS]
        return lifecycle.leaving(self.worker, self.elsewhere, but=due)

    def refresh_for(self, seconds: float) -> None:
        """Before a wait of so long at most: the job that ends it needn't wait until this is looked up."""
        if self.next_look < time.monotonic() + seconds:
            self.refresh()

    def refresh(self) -> None:
        """What other workers hold."""
        self.next_look, self.elsewhere = time.monotonic() + LOOK_SECONDS, self.models_elsewhere()

    def models_elsewhere(self) -> set[str]:
        """Those that live workers hold, and this one does not."""
        recent = Now() - timedelta(seconds=settings.JOB_LEASE_SECONDS)
        others = Worker.objects.filter(heartbeat_at__gte=recent).exclude(state__in=OUT).exclude(pk=self.worker.pk)
        held = {model["id"] for models in others.values_list("loaded_models", flat=True) for model in models}
        return held - self.held_models() if held else held

    def seconds_to_wait(self, longest: float) -> float:
        """Until the next row that was left has waited for long enough."""
        if not self.left_since:
            return longest
        left = min(self.left_since.values()) + settings.PLACEMENT_SECONDS - time.monotonic()
        return min(longest, max(0.01, left))
