"""A job while it is worked on, as a handler sees it: parameters in; progress, warnings and timings out; an `Outcome` at the end."""

import base64
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from api.errors import DarkroomError
from api.jobs.errors import JobCancelled
from api.jobs.models import Job
from api.json_types import JsonObject
from api.specs import Spec

COALESCE_SECONDS = 0.05
S = TypeVar("S", bound=Spec)
SpecT = TypeVar("SpecT", bound=Spec, covariant=True)


class Emit(Protocol):
    """Tells watchers of a running job something; raises nothing that the work must know of."""

    def __call__(self, running: "RunningJob[Spec]", type: str, data: JsonObject, *, progress: JsonObject | None) -> None: ...


def as_data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class RunningJob(Generic[SpecT]):
    """One attempt at one job, whose request is `spec`.

    Used by the thread that runs models; `cancel_asked` is set by the thread that keeps the lease.
    """

    def __init__(self, job: Job, spec: SpecT, emit: Emit, interrupted: threading.Event | None = None) -> None:
        self.job, self.spec = job, spec
        self.timings: dict[str, float] = dict(job.timings)  # empty, unless it has waited for children
        self.warnings: list[str] = list(job.warnings)  # those that the submission knew
        self.ended = False
        """The worker has written its end, or that it waits for its children, or the row belongs to another attempt."""
        self.cancel_asked = threading.Event()
        self.interrupted = interrupted or threading.Event()  # the worker must stop: hand the job back
        self.last_activity = time.monotonic()
        self.step_reached = 0, 0
        """The last step that was reported, and of how many."""
        self._emit = emit
        self._last_emit = 0.0
        if job.started_at is not None:
            waited = (job.started_at - job.created_at).total_seconds()
            self.timings["queue"] = round(max(0.0, waited), 4)  # less than nothing where the clock was set back

    @property
    def id(self) -> uuid.UUID:
        return self.job.id

    @property
    def owner_key(self) -> str:
        return self.job.owner_key

    @property
    def attempt(self) -> int:
        return self.job.attempt

    @property
    def children(self) -> list[Job]:
        """The jobs that it has waited for, in the order in which it asked for them; all have ended. [] before it asks."""
        return list(self.job.children.order_by("pk"))

    @property
    def cancelled(self) -> bool:
        """Whether the work should stop: its cancellation was asked for, the worker must end, or the lease is lost."""
        return self.cancel_asked.is_set() or self.interrupted.is_set() or self.ended

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled

    def progress(self, *, step: int, steps: int, preview: bytes | None = None, stage: str = "") -> None:
        """Step `step` of `steps` is done. Told to watchers at most every 50 ms, the last step always."""
        self.last_activity = time.monotonic()
        self.step_reached = step, steps
        if preview is None and step < steps and self.last_activity - self._last_emit < COALESCE_SECONDS:
            return
        self._last_emit = self.last_activity
        progress: JsonObject = {"fraction": round(step / steps, 4), "step": step, "steps": steps}
        if stage:
            progress["stage"] = stage
        if preview is None:
            self.emit("progress", progress, progress=progress)
        else:
            self.emit("preview", {**progress, "preview": as_data_url(preview)}, progress=progress)

    def emit(self, type: str, data: JsonObject, *, progress: JsonObject | None = None) -> None:
        """An event for those who watch. A lost lease stops the work; a database that is busy only costs this event."""
        self.last_activity = time.monotonic()
        if not self.ended:
            self._emit(self, type, data, progress=progress)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to `timings[name]`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add_time(name, time.monotonic() - started)

    def add_time(self, name: str, seconds: float) -> None:
        self.last_activity = time.monotonic()
        self.timings[name] = round(self.timings.get(name, 0.0) + seconds, 4)


# ---------------------------------------------------------------- how it ended


@dataclass(frozen=True)
class Finished:
    """The work is done. `output` is what the kind's `record` makes rows of; its files are on disk."""

    running: RunningJob[Spec]
    output: Any


@dataclass(frozen=True)
class Failed:
    """The job can't be done, for a reason that its owner may read."""

    running: RunningJob[Spec]
    error: DarkroomError


@dataclass(frozen=True)
class Stopped:
    """The work stopped before its end: the job is cancelled where that was asked for, else handed back."""

    running: RunningJob[Spec]


@dataclass(frozen=True)
class ChildJob:
    """A job that another asks for: of the same owner, with the same priority, a row like any other."""

    kind: str
    params: JsonObject
    only_worker_id: uuid.UUID | None = None
    """The worker that it is for; None: any."""


@dataclass(frozen=True)
class Waiting:
    """The job waits for `children`, and no worker for it. When all have ended, however, `run` is called again and finds them in
    `running.children`. What this attempt holds in memory is lost; warnings and timings are kept.
    """

    running: RunningJob[Spec]
    children: Sequence[ChildJob]

    def __post_init__(self) -> None:
        if not self.children:
            raise ValueError("Without children nothing would end this wait.")


Outcome = Finished | Failed | Stopped | Waiting
"""What a handler says of each job of its batch. Only the worker writes it down."""
