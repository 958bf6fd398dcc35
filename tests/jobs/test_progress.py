"""Progress is told beside the work: by a thread of its own, the newest of all jobs at once, in order with everything else of a job."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.models import Job, PreviewWatch
from api.jobs.running import Failed, Finished, Stopped
from api.jobs.states import Status
from api.jobs.store.preview_watches import extend_watches
from api.jobs.worker import progress_publisher as module
from api.jobs.worker.endings import end, start_running
from api.jobs.worker.hang_detection import end_if_hanging
from api.jobs.worker.loop import WorkerLoop
from api.jobs.worker.progress_publisher import ProgressPublisher, Running
from api.jobs.worker.retention import clean_history
from tests.jobs.conftest import at_once, ends, expire_lease, now_as, until
from tests.migrating import migrated_back

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Running]


@pytest.fixture
def publisher() -> ProgressPublisher:
    """Not started: a test calls `turn`."""
    return ProgressPublisher()


@pytest.fixture
def started(publisher: ProgressPublisher) -> Iterator[ProgressPublisher]:
    publisher.start()
    yield publisher
    publisher.stop()
    publisher.join(10)


@pytest.fixture
def start(submit, worker, publisher: ProgressPublisher) -> Start:
    """A job, claimed and held."""

    def start_one(kind: str = "sleep") -> Running:
        submit(kind)
        running = start_running(lifecycle.claim_jobs(worker=worker)[0], publisher)
        publisher.hold([*publisher.runs, running])
        return running

    return start_one


def told(running: Running, *types: str) -> list[tuple[str, Any]]:
    """Type and step (or text) of its events."""
    events = running.job.events.filter(type__in=types or ("progress", "preview"))
    return [(event.type, event.data.get("step", event.data.get("text"))) for event in events]


def test_the_newest_progress_of_all_jobs_is_told_in_one_transaction(start: Start, publisher: ProgressPublisher) -> None:
    runs = [start() for _ in range(16)]
    for step in (1, 2, 3):
        for number, running in enumerate(runs):
            running.progress(step=step, steps=9, preview=b"jpeg" if number == 0 and step == 1 else None)
    assert told(runs[1]) == []
    with CaptureQueriesContext(connection) as queries:
        publisher.publish()
    begun = [query for query in queries if str(query["sql"]).startswith("BEGIN")]
    assert len(begun) == 1
    assert len(queries) < 16
    assert [told(running) for running in runs] == [[("preview", 3)], *[[("progress", 3)]] * 15]
    assert {now_as(running.job).progress["step"] for running in runs} == {3}


def test_progress_costs_the_thread_that_works_no_query(start: Start, publisher: ProgressPublisher) -> None:
    running = start()
    with CaptureQueriesContext(connection) as queries:
        running.progress(step=1, steps=2, preview=b"jpeg")
    assert len(queries) == 0
    assert (running.step_reached, running.watched) == ((1, 2), False)


def test_the_first_step_is_told_at_once_and_later_ones_at_intervals(
    start: Start, started: ProgressPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNWATCHED_SECONDS", 3.0)
    first, second = start(), start()
    first.progress(step=1, steps=9)
    until(lambda: told(first), 5)
    begun = time.monotonic()
    first.progress(step=2, steps=9)
    second.progress(step=1, steps=9)
    until(lambda: told(second), 5)
    assert time.monotonic() - begun < 2.9
    for step in (3, 4, 5):
        first.progress(step=step, steps=9)
    until(lambda: len(told(first)) == 3)
    assert time.monotonic() - begun > 2.8
    assert told(first) == [("progress", 1), ("progress", 2), ("progress", 5)]


def test_where_a_stream_is_open_later_steps_are_told_sooner(
    start: Start, started: ProgressPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNWATCHED_SECONDS", 60.0)
    running = start()
    running.progress(step=1, steps=9)
    until(lambda: told(running), 5)
    running.progress(step=2, steps=9)
    time.sleep(2 * module.INTERVAL_SECONDS)
    assert told(running) == [("progress", 1)]
    extend_watches([running.id])
    until(lambda: len(told(running)) == 2, 5)


def test_a_preview_that_was_not_told_yet_stays_with_newer_progress(start: Start, publisher: ProgressPublisher) -> None:
    running = start()
    running.progress(step=1, steps=9, preview=b"jpeg")
    running.progress(step=2, steps=9)
    publisher.turn()
    running.progress(step=3, steps=9)
    publisher.turn()
    assert told(running) == [("preview", 2), ("progress", 3)]


# ---------------------------------------------------------------- order


def test_tokens_are_all_told_and_in_order_with_progress(start: Start, started: ProgressPublisher) -> None:
    running = start()
    for number in range(60):
        running.progress(step=number + 1, steps=60)
        running.emit("token", {"text": number})
    expected = [event for number in range(60) for event in (("progress", number + 1), ("token", number))]
    assert told(running, "progress", "token") == expected
    assert list(running.job.events.values_list("sequence", flat=True)) == list(range(1, 123))


def test_steps_of_many_jobs_never_go_back(start: Start, started: ProgressPublisher) -> None:
    runs = [start() for _ in range(4)]

    def work(running: Running) -> None:
        for step in range(1, 101):
            running.progress(step=step, steps=100)
            time.sleep(0.002)
        running.flush()

    at_once([lambda running=running: work(running) for running in runs])
    for running in runs:
        steps = [step for _, step in told(running)]
        assert steps == sorted(set(steps))
        assert (steps[-1], len(steps) < 50) == (100, True)
        assert list(running.job.events.values_list("sequence", flat=True)) == list(
            range(1, now_as(running.job).event_sequence + 1)
        )


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (lambda running: Finished(running, {}), Status.SUCCEEDED),
        (lambda running: Failed(running, DarkroomError("x", 500, "x")), Status.FAILED),
        (Stopped, Status.QUEUED),
    ],
)
def test_the_last_progress_comes_before_the_end_and_none_after_it(outcome, status, start: Start, publisher) -> None:
    running = start()
    running.progress(step=4, steps=4)
    end(outcome(running))
    running.progress(step=4, steps=4)
    assert publisher.waiting == {}
    publisher.post(running, module.ProgressReport({"fraction": 1.0}, b"jpeg"))  # as a thread that knew nothing of the end
    running.ended = False
    publisher.turn()
    types = list(running.job.events.values_list("type", flat=True))
    assert types[:3] == ["status", "status", "progress"]
    assert types[3:] in (["result", "status"], ["error", "status"], ["status"])
    assert (now_as(running.job).status, running.ended) == (status, True)


@pytest.mark.parametrize("meanwhile", [[], [2, 3]], ids=["the last step is being published", "others came meanwhile"])
def test_an_end_waits_for_the_publication_under_way(
    start: Start, publisher, monkeypatch: pytest.MonkeyPatch, meanwhile: list[int]
) -> None:
    running, taken, go_on = start(), threading.Event(), threading.Event()
    record = lifecycle.record_progress

    def record_slowly(reports: Any) -> Any:
        taken.set()
        assert go_on.wait(10)
        return record(reports)

    monkeypatch.setattr(lifecycle, "record_progress", record_slowly)
    running.progress(step=1, steps=3)
    publisher.start()
    assert taken.wait(10)
    for step in meanwhile:
        running.progress(step=step, steps=3)
    threading.Timer(0.2, go_on.set).start()
    end(Finished(running, {}))
    publisher.stop()
    publisher.join(10)
    steps = [("progress", step) for step in (1, *meanwhile[-1:])]
    assert told(running, "progress", "result") == [*steps, ("result", None)]


# ---------------------------------------------------------------- leases


def test_progress_of_an_attempt_that_was_taken_over_is_told_to_nobody(start: Start, worker, publisher) -> None:
    late = start()
    expire_lease(late.job)
    lifecycle.hand_back(job=late.job, reason="r", if_expired=True)
    Job.objects.update(available_at="2020-01-01T00:00:00Z")
    [job] = lifecycle.claim_jobs(worker=worker)
    now = start_running(job, publisher)
    assert now.id == late.id
    before = now_as(job).event_sequence
    late.progress(step=7, steps=9)
    now.progress(step=1, steps=9)
    publisher.turn()
    assert told(now) == [("progress", 1)]
    assert now_as(job).event_sequence == before + 1
    assert (late.ended, late.cancelled, now.ended) == (True, True, False)


def test_a_row_that_is_locked_holds_up_no_other_and_is_told_next_time(start: Start, publisher) -> None:
    """On SQLite a transaction holds the whole database, and there is nothing to pass over."""
    if connection.vendor == "sqlite":
        pytest.skip("PostgreSQL locks rows")
    locked, free = start(), start()
    for running in (locked, free):
        running.progress(step=1, steps=2)
    with transaction.atomic():
        Job.objects.select_for_update().get(pk=locked.id)
        [result] = at_once([publisher.turn])
        assert result is None
        assert (told(locked), told(free)) == ([], [("progress", 1)])
    publisher.turn()
    assert (told(locked), locked.ended) == ([("progress", 1)], False)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("error", [OperationalError("away"), ZeroDivisionError()])
def test_a_database_that_is_away_costs_only_progress(error, start: Start, publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(reports: Any) -> None:
        raise error

    running = start()
    running.progress(step=1, steps=3)
    with monkeypatch.context() as broken:
        broken.setattr(lifecycle, "record_progress", fail)
        publisher.turn()
    running.progress(step=2, steps=3)
    publisher.turn()
    assert (told(running), running.ended) == ([("progress", 2)], False)


def test_what_waits_is_told_when_the_worker_ends(start: Start, started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 60.0)
    running = start()
    running.progress(step=1, steps=3)
    until(lambda: told(running), 5)
    running.progress(step=2, steps=3)
    started.stop()
    started.join(10)
    assert told(running) == [("progress", 1), ("progress", 2)]


def test_a_step_counts_as_activity_whether_or_not_it_is_told(start: Start, loop: WorkerLoop, settings, monkeypatch) -> None:
    exits: list[int] = []
    monkeypatch.setattr("os._exit", exits.append)
    running = start()
    loop.keeper.hold([running])
    running.last_activity -= settings.JOB_STUCK_SECONDS + 1
    end_if_hanging(loop.keeper.runs, loop.keeper.warm_up)
    assert len(exits) == 1
    running.progress(step=1, steps=3)
    end_if_hanging(loop.keeper.runs, loop.keeper.warm_up)
    assert len(exits) == 1


def test_a_worker_tells_the_steps_of_a_job_while_it_runs(submit, loop: WorkerLoop) -> None:
    job = submit("sleep", {"steps": 8, "seconds": 0.15})
    working = threading.Thread(target=lambda: (loop.run(), connection.close()))
    working.start()
    seen = until(lambda: now_as(job).progress.get("step"), 10)
    ended = ends(job)
    loop.stop()
    working.join(20)
    assert seen < 8
    steps = [event.data["step"] for event in job.events.filter(type="progress")]
    assert steps == sorted(set(steps))
    assert (ended.status, steps[-1], len(steps) > 3) == (Status.SUCCEEDED, 8, True)
    assert not loop.publisher.is_alive()


# ---------------------------------------------------------------- whose previews are watched


def test_a_job_is_watched_as_long_as_somebody_says_so(start: Start, publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    running, other = start(), start()
    publisher.turn()
    assert not running.watched
    extend_watches([running.id])
    publisher.turn()
    assert (running.watched, other.watched) == (True, False)
    PreviewWatch.objects.update(watched_until=Now() - timedelta(milliseconds=1))  # as it is when nobody says so any more
    publisher.turn()
    assert not running.watched


def test_who_watches_is_known_with_the_first_step(start: Start, started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 60.0)
    running = start()
    until(lambda: started.next_look > time.monotonic() + 30, 5)  # it has looked, and won't again for a minute
    extend_watches([running.id])
    running.progress(step=1, steps=9)
    until(lambda: running.watched, 5)


def test_who_comes_late_is_known_soon_and_without_a_step(start: Start, started) -> None:
    running = start()
    until(lambda: started.next_look, 5)
    extend_watches([running.id])
    until(lambda: running.watched)


def test_watches_from_a_clock_that_was_set_back_count_as_ended_and_ended_ones_go(start: Start, publisher) -> None:
    running = start()
    PreviewWatch.objects.create(job_id=running.id, watched_until="2099-01-01T00:00:00Z")
    publisher.turn()
    assert not running.watched
    extend_watches([other := start().id])
    clean_history()
    assert [watch.job_id for watch in PreviewWatch.objects.all()] == [other]


def test_the_migration_leaves_jobs_as_they_are_both_ways(start: Start) -> None:
    running = start()
    before = list(Job.objects.values())
    with migrated_back("jobs", "0004_owner_order"):
        assert PreviewWatch._meta.db_table not in connection.introspection.table_names()
    assert list(Job.objects.values()) == before
    extend_watches([running.id])
    assert PreviewWatch.objects.count() == 1
