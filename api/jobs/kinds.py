"""The registry that capabilities sign up to: what the queue may know of a kind of job, and no more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from api.jobs.errors import JobError

if TYPE_CHECKING:
    from api.jobs.models import Job
    from api.jobs.runs import JobRun


class JobKind(ABC):
    """One kind of job. A capability's handler.py has its subclasses, its apps.py registers them.

    `run` is called in the worker alone, without a database transaction; `record` inside the transaction that ends the job.
    """

    name: ClassVar[str]
    max_batch: ClassVar[int] = 1

    def batch_key(self, params: dict[str, Any]) -> str:
        """Jobs with the same key (64 characters at most) may be run at once; '' is run alone."""
        return ""

    def ensure_room(self) -> None:
        """Raises a Problem where no new job of this kind can be taken: its results would find no place."""
        return

    @abstractmethod
    def run(self, runs: Sequence["JobRun"]) -> None:
        """Do the work, and call `finish(output)` or `fail(error)` of each run. An exception fails those that are left."""

    def record(self, job: "Job", output: Any) -> dict[str, Any]:
        """Create the rows of the output, and return the job's `result`. Files are on disk already."""
        return dict(output)

    def discard(self, output: Any) -> None:
        """The job was cancelled or taken over meanwhile: remove what `run` left on disk."""
        return

    def link_inputs(self, params: dict[str, Any]) -> Callable[["Job"], None] | None:
        """What ties the files named in `params` to a new job, within its transaction; None where there are none."""
        return None

    def render(self, job: "Job", *, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
        """The `result` as a client sees it; `include` are the extras that it asked for."""
        return job.result


class ForgottenKind(JobKind):
    """Stands for a kind whose app is no longer installed: its history stays readable, and what still waits fails instead of blocking."""

    name = ""

    def run(self, runs: Sequence["JobRun"]) -> None:
        raise JobError("unknown_kind", 501, "This server no longer knows this kind of job.")


_kinds: dict[str, JobKind] = {}
_forgotten = ForgottenKind()


def register(kind: JobKind) -> None:
    _kinds[kind.name] = kind


def get_kind(name: str) -> JobKind:
    return _kinds.get(name, _forgotten)


def kind_names() -> list[str]:
    return sorted(_kinds)
