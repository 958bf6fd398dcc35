"""Jobs that are worked on in steps: they join while others run, and take turns with what is run in one piece."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from api.jobs import kinds
from api.jobs.kinds import JobKind, Session
from api.jobs.models import Job
from api.jobs.running import Finished, Outcome, RunningJob, Stopped
from api.jobs.worker import loop as worker_loop
from api.jobs.worker.loop import WorkerLoop
from api.specs import StoredSpec
from tests.jobs.conftest import now_as

pytestmark = pytest.mark.django_db
diary: list[str] = []


class Counting(Session):
    """Each job counts to its `steps`; two at most at a time."""

    def __init__(self) -> None:
        self.counts: dict[RunningJob, int] = {}
        self.on_step: Callable[[], None] = lambda: None

    @property
    def running(self) -> list[RunningJob]:
        return [run for run in self.counts if not run.ended]

    def room(self) -> int:
        return 2 - len(self.running)

    def join(self, batch: Sequence[RunningJob]) -> None:
        self.counts |= dict.fromkeys(batch, 0)

    def step(self) -> Iterator[Outcome]:
        diary.append("+".join(str(run.spec.params["name"]) for run in self.running))
        for run in self.running:
            self.counts[run] += 1
            if run.cancelled:
                yield Stopped(run)
            elif run.spec.params.get("broken"):
                raise ValueError(run.spec.params["name"])
            elif self.counts[run] == run.spec.params["steps"]:
                yield Finished(run, {"counted": self.counts[run]})

    def close(self) -> None:
        diary.append("closed")


@dataclass(frozen=True, kw_only=True)
class SteppedSpec(StoredSpec):
    def batch_key(self) -> str:
        return str(self.params.get("key", "one"))


class Stepped(JobKind):
    name = "stepped"
    spec_class = SteppedSpec

    def open_session(self, spec: SteppedSpec) -> Session:
        if spec.params.get("unopenable"):
            raise LookupError(spec.params["name"])
        return Counting()


class Whole(JobKind):
    name = "whole"

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        diary.append(f"whole {batch[0].spec.params['name']}")
        yield Finished(batch[0], {})


@pytest.fixture(autouse=True)
def session_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind.name: kind for kind in (Stepped(), Whole())}
    monkeypatch.setattr(kinds, "_kinds", {**kinds._kinds, **known})
    monkeypatch.setattr(worker_loop, "JOIN_SECONDS", 0.0)
    diary.clear()


@pytest.fixture
def stepped(submit: Callable[..., Job]) -> Callable[..., Job]:
    return lambda name, steps, **params: submit("stepped", {"name": name, "steps": steps, **params})


def work(loop: WorkerLoop) -> None:
    while loop.run_once():
        pass


def test_jobs_of_one_key_are_worked_on_together(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    jobs = [stepped("a", 3), stepped("b", 2)]
    work(loop)
    assert diary == ["a+b", "a+b", "a", "closed"]
    assert [now_as(job).status for job in jobs] == ["succeeded"] * 2


def test_who_comes_later_joins_as_soon_as_there_is_room(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    for name, steps in [("a", 4), ("b", 1), ("c", 1)]:
        stepped(name, steps)
    work(loop)
    assert diary == ["a+b", "a+c", "a", "a", "closed"]


def test_a_batch_of_another_kind_waits_for_a_turn_and_not_for_the_end(
    stepped: Callable[..., Job], submit: Callable[..., Job], loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_loop, "TURN_SECONDS", 0.0001)
    stepped("long", 10_000)
    pictures = [submit("whole", {"name": str(number)}) for number in range(3)]
    for _ in range(4):
        loop.run_once()
    assert [now_as(job).status for job in pictures] == ["succeeded"] * 3
    between = [[line for line in diary if line != "long"], len(diary) > 6]
    assert between == [["whole 0", "whole 1", "whole 2"], True]


def test_two_keys_take_turns(stepped: Callable[..., Job], loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_loop, "TURN_SECONDS", 0.0001)
    long = stepped("long", 10_000)
    short = stepped("short", 1, key="two")
    for _ in range(3):
        loop.run_once()
    assert (now_as(long).status, now_as(short).status) == ("running", "succeeded")


def test_a_cancelled_job_leaves_the_others_at_work(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    jobs = [stepped("a", 5), stepped("b", 5)]
    loop.start(claimed(loop))
    session = loop.sessions["one"]
    loop.let_join("one", session)
    session.step()
    session.running[0].cancel_asked.set()
    work(loop)
    assert [now_as(job).status for job in jobs] == ["cancelled", "succeeded"]


def claimed(loop: WorkerLoop) -> list[Job]:
    from api.jobs.lifecycle import claim_jobs

    return claim_jobs(worker=loop.worker)


def test_what_a_session_raises_fails_its_jobs_and_no_others(
    stepped: Callable[..., Job], submit: Callable[..., Job], loop: WorkerLoop
) -> None:
    broken, picture = stepped("a", 5, broken=True), submit("whole", {"name": "p"})
    later = stepped("b", 1, key="two")
    work(loop)
    assert [now_as(job).status for job in (broken, picture, later)] == ["failed", "succeeded", "succeeded"]
    assert loop.sessions == {}


def test_a_session_that_can_not_be_opened_fails_its_job_and_not_the_worker(
    stepped: Callable[..., Job], loop: WorkerLoop
) -> None:
    broken, later = stepped("a", 1, unopenable=True), stepped("b", 1, key="two")
    work(loop)
    assert [now_as(job).status for job in (broken, later)] == ["failed", "succeeded"]


def test_a_job_that_was_tried_before_has_the_worker_to_itself(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    first, again, third = stepped("a", 3), stepped("again", 2), stepped("c", 1)
    Job.objects.filter(pk=again.pk).update(attempt=1, status="queued")
    loop.has_claimed = True
    work(loop)
    assert diary == ["a+c", "a", "a", "closed", "again", "again", "closed"]
    assert [now_as(job).status for job in (first, again, third)] == ["succeeded"] * 3


def test_leases_are_kept_of_all_that_is_under_way(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    jobs = [stepped("a", 10), stepped("b", 10, key="two")]
    loop.start(claimed(loop))
    loop.start(claimed(loop))
    assert {run.id for run in loop.keeper.runs} == {job.pk for job in jobs}


def test_a_worker_that_must_stop_hands_back_what_it_can_not_end(stepped: Callable[..., Job], loop: WorkerLoop) -> None:
    job = stepped("a", 10_000)
    loop.start(claimed(loop))
    loop.interrupted.set()
    loop.finish_sessions()
    assert now_as(job).status == "queued"
    assert now_as(job).attempt == 0
