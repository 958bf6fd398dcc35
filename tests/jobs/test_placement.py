"""Which worker a job runs on: where its model is, for a bounded time; and the worker that it is addressed to."""

import time
from collections import Counter
from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from api.jobs import lifecycle
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.worker import placement
from api.jobs.worker.loop import WorkerLoop
from api.jobs.worker.placement import kinds_taken
from api.jobs.worker.sweep import sweep
from tests.jobs.conftest import now_as
from tests.rows import ANY_PARAMS

pytestmark = pytest.mark.django_db


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Callable[..., WorkerLoop]:
    """A worker with these models in its memory, as it says itself and as its row tells the others."""
    monkeypatch.setattr(placement, "LOOK_SECONDS", 0.0)

    def make(*models: str) -> WorkerLoop:
        loaded = [{"id": model, "bytes": 1} for model in models]
        loop = WorkerLoop(describe=lambda: {"loaded_models": loaded})
        Worker.objects.filter(pk=loop.worker.pk).update(loaded_models=loaded)
        return loop

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what time.monotonic gives to the placement."""
    now = [1000.0]
    monkeypatch.setattr(placement.time, "monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def where(job: Job) -> Worker | None:
    return now_as(job).worker


def test_jobs_run_where_their_model_is(submit, holding):
    first, second = holding("a"), holding("b")
    jobs = [submit(model_id=model) for model in "aabbabbbaaabab" * 5]
    while first.run_once() | second.run_once():
        pass
    at_home = Counter(where(job) == (first if job.model_id == "a" else second).worker for job in jobs)
    assert at_home[True] >= 0.95 * len(jobs)


def test_a_model_that_no_live_worker_holds_is_anybodys(submit, holding):
    loop, gone, silent = holding("a"), holding("b"), holding("c")
    Worker.objects.filter(pk=gone.worker.pk).update(state=Worker.State.STOPPED)
    Worker.objects.filter(pk=silent.worker.pk).update(heartbeat_at="2020-01-01T00:00:00Z")
    jobs = [submit(model_id=model) for model in ("b", "c", "d", "")]
    assert [loop.run_once() for _ in jobs] == [True] * 4
    assert {where(job) for job in jobs} == {loop.worker}


def test_a_row_is_left_to_another_worker_for_no_longer_than_placement_seconds(submit, holding, clock, settings):
    loop, _busy = holding("a"), holding("b")
    job = submit(model_id="b")
    assert not loop.run_once()
    assert loop.placement.seconds_to_wait(60) == settings.PLACEMENT_SECONDS
    clock(settings.PLACEMENT_SECONDS - 0.1)
    assert not loop.run_once()
    clock(0.2)
    assert loop.run_once()
    assert where(job) == loop.worker


def test_a_row_for_this_worker_alone_is_not_left_to_the_one_that_holds_its_model(submit, holding, clock):
    loop, _holds_it = holding("a"), holding("b")
    job = submit(model_id="b", only_worker_id=loop.worker.pk)
    assert loop.run_once()
    assert where(job) == loop.worker


def test_a_row_that_was_left_counts_from_its_turn_while_the_worker_does_others(submit, holding, clock, settings):
    loop, _busy = holding("a"), holding("b")
    left = submit(model_id="b")
    others = [submit(model_id="a") for _ in range(3)]
    assert loop.run_once()
    clock(settings.PLACEMENT_SECONDS + 1)
    assert loop.run_once()
    assert [where(job) for job in (left, *others)] == [loop.worker, loop.worker, None, None]


def test_what_both_hold_is_taken_by_either(submit, holding):
    loop, _other = holding("a", "b"), holding("b")
    submit(model_id="b")
    assert loop.run_once()


def test_two_workers_with_placement_off_take_turns(submit, holding, settings):
    settings.PLACEMENT_SECONDS = 0
    loop, _busy = holding("a"), holding("b")
    submit(model_id="b")
    assert loop.run_once()


def test_a_worker_without_models_beside_one_with_some_fails_nothing(submit, holding, settings):
    settings.LOAD_MODELS = False
    loop, maker = holding(), holding("starter")
    picture = submit("txt2img", ANY_PARAMS, model_id="starter")
    noop = submit()
    assert [loop.run_once(), loop.run_once()] == [True, False]
    assert [now_as(job).status for job in (picture, noop)] == [Status.QUEUED, Status.SUCCEEDED]
    settings.LOAD_MODELS = True
    assert lifecycle.claim_jobs(worker=maker.worker) == [picture]


def test_a_worker_says_which_kinds_it_takes(settings):
    assert {"noop", "txt2img", "load_model"} <= set(kinds_taken())
    settings.LOAD_MODELS = False
    assert {"noop", "layout_score"} <= set(WorkerLoop().worker.kinds)
    assert "load_model" not in WorkerLoop().worker.kinds


# ---------------------------------------------------------------- jobs for one worker


def test_a_job_for_one_worker_is_run_by_no_other(submit, holding):
    first, second = holding(), holding()
    job = submit(only_worker_id=second.worker.pk)
    assert [first.run_once(), second.run_once()] == [False, True]
    assert where(job) == second.worker


def test_a_job_for_a_worker_that_has_ended_fails(submit, holding):
    loop = holding()
    job, unknown, others = submit(only_worker_id=loop.worker.pk), submit(only_worker_id=Job().pk), submit()
    sweep()
    assert [now_as(one).status for one in (job, unknown, others)] == [Status.QUEUED, Status.FAILED, Status.QUEUED]
    loop.end()
    sweep()
    assert [now_as(one).status for one in (job, others)] == [Status.FAILED, Status.QUEUED]
    assert now_as(job).error["code"] == "worker_gone"


@pytest.mark.django_db(transaction=True)
def test_the_wait_for_a_better_place_is_bounded_in_real_time(submit, workers, settings):
    """Another worker holds the model and doesn't come."""
    settings.PLACEMENT_SECONDS = 1
    workers.start(PLACEMENT_SECONDS="1")
    other = Worker.objects.create(hostname="busy", pid=1, loaded_models=[{"id": "m", "bytes": 1}])
    time.sleep(placement.LOOK_SECONDS + 0.5)
    Worker.objects.filter(pk=other.pk).update(heartbeat_at=Now())
    job = submit(model_id="m")
    deadline = time.monotonic() + 20
    while not now_as(job).is_final and time.monotonic() < deadline:
        time.sleep(0.05)
    done = now_as(job)
    assert 0.8 < (done.started_at - done.created_at).total_seconds() < 4.5  # without the setting it were 5


def test_a_worker_that_has_just_looked_asks_nothing_about_others_when_it_claims(
    submit: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = WorkerLoop()
    loop.placement.refresh()  # as it does before it waits
    submit(model_id="a")
    asked: list[None] = []
    monkeypatch.setattr(placement, "model_holders", lambda worker_id: asked.append(None) or {})
    assert loop.run_once()
    assert asked == []
