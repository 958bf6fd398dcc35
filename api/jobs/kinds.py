"""The registry that capabilities sign up to: what the queue may know of a kind of job, and no more."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from api.errors import DarkroomError

if TYPE_CHECKING:
    from api.jobs.models import Job
    from api.jobs.worker.runs import JobRun


class JobKind:
    """One kind of job. A capability's handler.py has its subclasses, its apps.py registers them.

    `run` is called in the worker alone, without a database transaction; `record` inside the transaction that ends the job.
    """

    name: ClassVar[str]
    max_batch: ClassVar[int] = 1
    template: ClassVar[str] = ""
    """Shows people what is particular to a result, on the job's page in the admin; it gets what `describe` gives."""

    def batch_key(self, params: dict[str, Any]) -> str:
        """Jobs with the same key (64 characters at most) may be run at once; '' is run alone."""
        return ""

    def find_warnings(self, params: dict[str, Any], model_id: str) -> Iterable[str]:
        """What of a request will have no effect, in sentences: known when it is submitted, and told from then on."""
        return ()

    def ensure_room(self) -> None:
        """Raises a DarkroomError where no new job of this kind can be taken: its results would find no place."""
        return

    def open_session(self, params: dict[str, Any]) -> "Session | None":
        """For a kind whose jobs are worked on in steps, together: called with the params of the first job of a batch key."""
        return None

    def run(self, runs: Sequence["JobRun"]) -> None:
        """Do the work, and call `finish(output)` or `fail(error)` of each run. An exception fails those that are left.

        Every kind has this or `open_session`.
        """
        raise NotImplementedError

    def record(self, job: "Job", output: Any) -> dict[str, Any]:
        """Create the rows of the output, and return the job's `result`. Files are on disk already."""
        return dict(output)

    @property
    def makes_rows(self) -> bool:
        return type(self).record is not JobKind.record

    def discard(self, output: Any) -> None:
        """The job was cancelled or taken over meanwhile: remove what `run` left on disk."""
        return

    def link_inputs(self, params: dict[str, Any]) -> Callable[["Job"], None] | None:
        """What ties the files named in `params` to a new job, within its transaction; None where there are none."""
        return None

    def render_params(self, job: "Job") -> dict[str, Any]:
        """The `params` as a client sees them: posted again to the same address, they are a request for the same result."""
        return job.params

    def render(self, job: "Job", *, include: frozenset[str] = frozenset()) -> dict[str, Any] | None:
        """The `result` as a client sees it; `include` are the extras that it asked for."""
        return job.result

    def describe(self, job: "Job") -> dict[str, Any]:
        """For `template`; nothing where there is nothing to show."""
        return {}


class Session(ABC):
    """Jobs of one batch key that are worked on together, a little at a time, and that others join while they run.

    The worker calls `step` in turns: between two of them it may run jobs of other kinds, so nothing that others could need is held
    from one step to the next.
    """

    runs: "list[JobRun]"
    """Those that have joined and have not ended."""

    @abstractmethod
    def room(self) -> int:
        """How many more may join now."""

    @abstractmethod
    def join(self, runs: "Sequence[JobRun]") -> None: ...

    @abstractmethod
    def step(self) -> bool:
        """A little work, and the end of those that are done. False where there was nothing to do but wait. Raises as `run` does."""

    def close(self) -> None:
        """Nothing is left to do, or the session has failed: let go of what it holds."""
        return


class UninstalledKind(JobKind):
    """Stands for a kind whose app is no longer installed: its history stays readable, and what still waits fails instead of blocking."""

    name = ""

    def run(self, runs: Sequence["JobRun"]) -> None:
        raise DarkroomError("unknown_kind", 501, "This server no longer knows this kind of job.")


_kinds: dict[str, JobKind] = {}
_uninstalled = UninstalledKind()


def register(kind: JobKind) -> None:
    _kinds[kind.name] = kind


def get_kind(name: str) -> JobKind:
    return _kinds.get(name, _uninstalled)


def kind_names() -> list[str]:
    return sorted(_kinds)
