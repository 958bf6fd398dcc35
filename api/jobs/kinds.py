"""The registry that capabilities sign up to: what the queue may know of a kind of job, and no more."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar, Generic

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from api.errors import PROGRAM_FAULTS, DarkroomError
from api.jobs.models import Job
from api.jobs.running import Outcome, RunningJob, S
from api.json_types import JsonObject
from api.quotas import Amount
from api.specs import Spec, StoredSpec


class JobKind(Generic[S]):
    """One kind of job. A capability's handler.py has its subclasses, its apps.py registers them.

    `run` is called in the worker alone, without a database transaction; `record` inside the transaction that ends the job.
    """

    name: ClassVar[str]
    title: ClassVar[str | Promise] = ""
    """As people read it; its name where it has none."""
    spec_class: type[S] = StoredSpec  # type: ignore[assignment]
    """The request: its fields, their ranges and defaults, which of them a batch has in common."""
    max_batch: ClassVar[int] = 1
    """How many jobs of one batch key are claimed together at most; see `batch_limit`."""
    template: ClassVar[str] = ""
    """Shows people what is particular to a result, on the job's page in the admin; it gets what `describe` gives."""

    def read_spec(self, job: Job) -> S:
        """The request of a row, of earlier versions too. Raises ValueError where this version can't read it."""
        return self.spec_class.from_row(job.params, kind=job.kind, model_id=job.model_id, prompt=job.prompt)

    def batch_limit(self) -> int:
        return self.max_batch

    def batch_key(self, spec: S) -> str:
        """Jobs with equal keys may run as one batch, or in one session; '' runs alone. At most 64 characters."""
        return spec.batch_key()

    def cost(self, spec: S) -> float:
        """How much of an owner's share of the workers a job takes, beside other jobs; 1 for what is done in one piece."""
        return 1.0

    def child_count(self, spec: S) -> int:
        """How many jobs it will ask for, where that is known before it runs: it is refused where its owner has no room for all of them.
        0 where it asks for none, or for as many as its work turns out to need.
        """
        return 0

    def expected_sizes(self, spec: S) -> Sequence[tuple[int, int]]:
        """Width and height of each picture that a job will make and keep, children's apart: what its owner's quotas must have room for."""
        return ()

    def expected_children(self, spec: S) -> Amount:
        """What the jobs come to that it will ask for, where that is known before it runs."""
        return Amount(self.child_count(spec))

    def expected(self, spec: S) -> Amount:
        """Of the job itself."""
        return Amount(1).plus(Amount.of_pictures(self.expected_sizes(spec)))

    def without_models(self) -> bool | tuple[str, Collection[str]]:
        """Which jobs of this kind a worker takes that loads no models (LOAD_MODELS=false): all, none, or those whose parameter of this
        name has one of these values.
        """
        return True

    @property
    def uses_models(self) -> bool:
        """Whether any job of this kind may need `without_models` to be asked, which each claim does."""
        return type(self).without_models is not JobKind.without_models

    def find_warnings(self, spec: S) -> Iterable[str]:
        """What of a request will have no effect, in sentences: known when it is submitted, and told from then on."""
        return ()

    def has_written(self, owner_key: str, text: str) -> bool:
        """Whether a job of this kind has answered its owner with this text, which a request then may say of itself (`claimed_texts`)."""
        return False

    def open_session(self, spec: S) -> "Session[S] | None":
        """For jobs that are worked on in steps, together: called with the request of the first job of a batch key."""
        return None

    def run(self, batch: Sequence[RunningJob[S]]) -> Iterable[Outcome]:
        """Do the work, and yield an Outcome for each job as soon as it is known. An exception fails those that have none yet.

        A job that yields `Waiting` is run again when its children have ended. Every kind has this or `open_session`.
        """
        raise NotImplementedError

    def record(self, job: Job, output: Any) -> JsonObject:
        """Create the rows of the output, and return the job's `result`. Files are on disk already."""
        return dict(output)

    @property
    def makes_rows(self) -> bool:
        return type(self).record is not JobKind.record

    def discard(self, output: Any) -> None:
        """The job was cancelled or taken over meanwhile: remove what `run` left on disk."""
        return

    def link_inputs(self, spec: S) -> Callable[[Job], None] | None:
        """What ties the files named in the request to a new job, within its transaction; None where there are none."""
        return None

    def render_params(self, spec: S) -> JsonObject:
        """The `params` as a client sees them: posted again to the same address, they are a request for the same result."""
        return spec.to_json()

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        """The `result` as a client sees it; `include` are the extras that it asked for."""
        result: JsonObject | None = job.result
        return result

    def describe(self, job: Job) -> dict[str, object]:
        """For `template`; nothing where there is nothing to show."""
        return {}


class Session(ABC, Generic[S]):
    """Jobs of one batch key that are worked on together, a little at a time, and that others join while they run.

    The worker calls `step` in turns. Between two of them it may run jobs of other kinds: then it calls `pause` first.
    """

    @property
    @abstractmethod
    def running(self) -> Sequence[RunningJob[S]]:
        """Those that have joined and have not ended."""

    @abstractmethod
    def room(self) -> int:
        """How many more may join now."""

    @abstractmethod
    def join(self, batch: Sequence[RunningJob[S]]) -> None: ...

    worked = True
    """Whether the last step did anything but wait."""

    @abstractmethod
    def step(self) -> Iterable[Outcome]:
        """A little work; yields the outcomes of those that are done. An exception fails all that have none yet."""

    def pause(self) -> None:
        """Others have their turn: let go of what they could need, until the next step."""
        return

    def close(self) -> None:
        """Nothing is left to do, or the session has failed: let go of what it holds."""
        return


class UninstalledKind(JobKind[StoredSpec]):
    """Stands for a kind whose app is no longer installed: its history stays readable, and what still waits fails instead of blocking."""

    name = ""

    def run(self, batch: Sequence[RunningJob[StoredSpec]]) -> Iterable[Outcome]:
        raise DarkroomError("unknown_kind", 501, "This server no longer knows this kind of job.")


AnyKind = JobKind[Any]
"""Of whatever requests: what its `read_spec` gives is what its other methods take."""

NAME = re.compile(r"[a-z0-9_-]{1,40}")
_kinds: dict[str, AnyKind] = {}
_uninstalled = UninstalledKind()


def register(kind: AnyKind, *, replaces: bool = False) -> None:
    """Raises ImproperlyConfigured for a name that is none, or another kind's, unless it `replaces` that."""
    own, name = type(kind), getattr(kind, "name", "")
    if not NAME.fullmatch(name):
        raise ImproperlyConfigured(f"{own.__module__}.{own.__qualname__}: its `name` must be 1 to 40 of a-z, 0-9, - and _.")
    other = type(_kinds.get(name, kind))
    if not replaces and (other.__module__, other.__qualname__) != (own.__module__, own.__qualname__):
        raise ImproperlyConfigured(
            f"{own.__module__}.{own.__qualname__} has the name of another kind of job: {name!r} is {other.__module__}.{other.__qualname__}."
        )
    _kinds[name] = kind


def get_kind(name: str) -> AnyKind:
    return _kinds.get(name, _uninstalled)


def title_of(name: str) -> str:
    return str(get_kind(name).title) or name


def all_kinds() -> Collection[AnyKind]:
    return _kinds.values()


def kind_names() -> list[str]:
    return sorted(_kinds)


def read_spec(job: Job) -> Spec:
    """The job's request. Raises DarkroomError where this version can't read it."""
    try:
        spec: Spec = get_kind(job.kind).read_spec(job)
        return spec
    except PROGRAM_FAULTS as error:  # of a kind of others: a page of the history, or a worker, has more rows than this one
        raise DarkroomError("unreadable_params", 500, f"This version can't read the job's params: {error}") from error


def shown_params(job: Job) -> JsonObject:
    """What people see of a job's request; as the row holds it, where this version can't read it."""
    try:
        params: JsonObject = get_kind(job.kind).render_params(read_spec(job))
        return params
    except DarkroomError:
        return dict(job.params)
