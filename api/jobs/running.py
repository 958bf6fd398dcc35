"""A job while it is worked on, as a handler sees it: parameters in; progress, warnings and timings out; an `Outcome` at the end."""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from api import tracing
from api.errors import DarkroomError
from api.jobs.errors import JobCancelled
from api.jobs.models import Job
from api.json_types import JsonObject
from api.previews import Preview
from api.specs import Spec

S = TypeVar("S", bound=Spec)
SpecT = TypeVar("SpecT", bound=Spec, covariant=True)


@dataclass(frozen=True)
class ProgressReport:
    """How far a job is, as its row and its watchers are told."""

    progress: JsonObject
    preview: bytes | None = None
    """A small JPEG; a `Preview` where it is known which of the job's pictures it shows."""

    def after(self, earlier: "ProgressReport | None") -> "ProgressReport":
        """This one in place of `earlier`, which nobody was told; a preview stays until there is a newer one."""
        return replace(self, preview=self.preview or (earlier.preview if earlier else None))

    @property
    def event(self) -> tuple[str, JsonObject]:
        """Type and data."""
        if self.preview is None:
            return "progress", self.progress
        of = {"number": self.preview.number} if isinstance(self.preview, Preview) else {}
        return "preview", {**self.progress, "preview": as_data_url(self.preview), **of}


def as_data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class Reporter(Protocol):
    """Tells watchers of running jobs; raises nothing that the work must know of. A job's events keep their order."""

    def post(self, running: "RunningJob[Spec]", report: ProgressReport) -> None:
        """To be told soon, unless a newer report comes before that. Returns at once."""

    def emit(self, running: "RunningJob[Spec]", type: str, data: JsonObject) -> None:
        """Told when this returns, and so is what was posted before."""

    def flush(self, running: "RunningJob[Spec]") -> None:
        """Told when this returns: what was posted."""


class RunningJob(Generic[SpecT]):
    """One attempt at one job, whose request is `spec`.

    Used by the thread that runs models; `cancel_asked` is set by the thread that keeps the lease.
    """

    def __init__(self, job: Job, spec: SpecT, reporter: Reporter, interrupted: threading.Event | None = None) -> None:
        self.job, self.spec = job, spec
        self.timings: dict[str, float] = dict(job.timings)  # empty, unless it has waited for children
        self.warnings: list[str] = list(job.warnings)  # those that the submission knew
        self.ended = False
        """The worker has written its end, or that it waits for its children, or the row belongs to another attempt."""
        self.cancel_asked = threading.Event()
        self.interrupted = interrupted or threading.Event()  # the worker must stop: hand the job back
        self.last_activity = time.monotonic()
        self.wraps_up = False
        """Its cancellation was met: what is left to do is to keep what is finished."""
        self.step_reached = 0, 0
        """The last step that was reported, and of how many."""
        self.watched = False
        """Whether somebody would see a preview. Set by the publisher; work that makes previews asks it first."""
        self.span: tracing.Span = None
        """Of this attempt; None where traces are off."""
        self.stages: dict[str, tuple[float, float]] = {}
        """From when to when each was measured, where there is a span."""
        self._reporter = reporter
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
        is_asked = self.cancel_asked.is_set() and not self.wraps_up
        return is_asked or self.interrupted.is_set() or self.ended

    @property
    def keeps_finished(self) -> bool:
        """Whether who cancelled it wants what was finished of it by then. Asks the database."""
        return self.cancel_asked.is_set() and Job.objects.filter(pk=self.id, keeps_finished=True).exists()

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled

    def progress(self, *, step: int, steps: int, preview: bytes | None = None, stage: str = "") -> None:
        """Step `step` of `steps` is done. Watchers are told soon, and not of each step; of the last one always. Returns at once."""
        self.last_activity = time.monotonic()
        self.step_reached = step, steps
        progress: JsonObject = {"fraction": round(step / steps, 4), "step": step, "steps": steps}
        if stage:
            progress["stage"] = stage
        if not self.ended:
            self._reporter.post(self, ProgressReport(progress, preview))

    def emit(self, type: str, data: JsonObject) -> None:
        """An event for those who watch. A lost lease stops the work; a database that is busy only costs this event."""
        self.last_activity = time.monotonic()
        if not self.ended:
            self._reporter.emit(self, type, data)

    def flush(self) -> None:
        """Watchers are told how far it is: before its end is written."""
        if not self.ended:
            self._reporter.flush(self)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to `timings[name]`."""
        started = time.monotonic()
        try:
            with tracing.use(self.span):
                yield
        finally:
            self.add_time(name, time.monotonic() - started)

    def add_time(self, name: str, seconds: float) -> None:
        self.last_activity = time.monotonic()
        self.timings[name] = round(self.timings.get(name, 0.0) + seconds, 4)
        if self.span is not None:
            start, _ = self.stages.get(name, (self.last_activity - seconds, 0.0))
            self.stages[name] = start, self.last_activity


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
    warnings: tuple[str, ...] = ()
    """What reading its request showed."""


@dataclass(frozen=True)
class Waiting:
    """The job waits for `children`, and no worker for it. When all have ended, however, `run` is called again and finds them in
    `running.children`. What this attempt holds in memory is lost; warnings and timings are kept.
    """

    running: RunningJob[Spec]
    children: Sequence[ChildJob]
    record: Callable[[Sequence[Job | DarkroomError]], Sequence[tuple[str, JsonObject]]] | None = None
    """Keeps what the next attempt goes on from, in the transaction that submits the children, whose rows it gets. Returns events."""
    goes_without: bool = False
    """A child that a quota refuses doesn't fail the job: `record` gets the refusal in the place of its row."""

    def __post_init__(self) -> None:
        if not self.children:
            raise ValueError("Without children nothing would end this wait.")


Outcome = Finished | Failed | Stopped | Waiting
"""What a handler says of each job of its batch. Only the worker writes it down."""
