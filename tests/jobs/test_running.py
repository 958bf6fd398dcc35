"""What the worker's loop makes of a handler's ways to end."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError

from api.errors import DarkroomError
from api.images.models import GeneratedImage
from api.jobs import lifecycle
from api.jobs.api.shared_reads import read_all
from api.jobs.api.streaming import JobStream
from api.jobs.models import Job, JobEvent
from api.jobs.notify.channels import Subscription, subscribe
from api.jobs.running import Outcome, RunningJob
from api.jobs.states import Status
from api.jobs.worker.endings import start_running
from api.jobs.worker.loop import WorkerLoop
from tests.jobs.conftest import now_as
from tests.jobs.kinds_app.kinds import Picture

pytestmark = pytest.mark.django_db


def files() -> list[str]:
    return sorted(path.name for path in (Path(settings.MEDIA_ROOT) / "output").rglob("*.*"))


def run(submit, loop: WorkerLoop, kind: str, **params) -> Job:
    job = submit(kind, params)
    assert loop.run_once()
    return now_as(job)


@pytest.fixture(autouse=True)
def media(tmp_path, monkeypatch, settings) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"
    monkeypatch.setattr("api.jobs.worker.endings.FINISH_RETRIES", (0.0, 0.0))


def test_a_result_is_recorded_with_its_timings(submit, loop):
    job = run(submit, loop, "sleep", steps=2, seconds=0.01)
    assert (job.status, job.result) == (Status.SUCCEEDED, {})
    assert job.timings["sleep"] >= 0.02
    assert job.timings["queue"] >= 0


def test_an_expected_failure_carries_its_own_words(submit, loop):
    assert run(submit, loop, "refuse").error == {"code": "refused", "status": 422, "detail": "This was refused."}


def test_an_unexpected_failure_tells_nothing_of_the_inside(submit, loop):
    error = run(submit, loop, "broken").error
    assert (error["code"], error["status"]) == ("internal_error", 500)
    assert "secret" not in str(error)


def test_a_handler_that_forgets_to_answer_fails_its_job(submit, loop):
    assert run(submit, loop, "silent").error["code"] == "internal_error"


def test_a_batch_is_run_once_for_all_of_it(submit, loop):
    jobs = [submit("batched") for _ in range(3)]
    loop.run_once()
    assert [now_as(job).result for job in jobs] == [{"batch": 3}] * 3


def test_a_picture_has_its_files_and_rows(submit, loop):
    job = run(submit, loop, "picture")
    image = GeneratedImage.objects.get(job=job)
    assert files() == sorted([image.file.name.rsplit("/")[-1], image.file.thumbnail_name.rsplit("/")[-1]])


def test_rows_that_cant_be_made_leave_no_file_and_no_row(submit, loop):
    job = run(submit, loop, "unrecordable")
    assert job.error["code"] == "internal_error"
    assert (files(), GeneratedImage.objects.count()) == ([], 0)


def test_the_files_of_a_job_that_was_taken_over_are_removed(submit, loop, monkeypatch):
    def write_and_lose(kind: Picture, batch: list[RunningJob]) -> Iterator[Outcome]:
        lifecycle.hand_back(job=batch[0].job, reason="r")
        return original(kind, batch)

    original = Picture.run
    monkeypatch.setattr(Picture, "run", write_and_lose)
    assert run(submit, loop, "picture").status == Status.QUEUED
    assert files() == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_fails_for_a_moment_costs_no_finished_work(submit, loop, monkeypatch):
    failures = iter([OperationalError("database is locked")] * 2)
    original = lifecycle.finish_job

    def finish(**arguments) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        original(**arguments)

    monkeypatch.setattr(lifecycle, "finish_job", finish)
    assert run(submit, loop, "picture").status == Status.SUCCEEDED
    assert len(files()) == 2


@pytest.mark.django_db(transaction=True)
def test_a_commit_whose_answer_was_lost_keeps_its_files(submit, loop, monkeypatch):
    original = lifecycle.finish_job

    def commit_and_lose_the_answer(**arguments) -> None:
        original(**arguments)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(lifecycle, "finish_job", commit_and_lose_the_answer)
    assert run(submit, loop, "picture").status == Status.SUCCEEDED
    assert len(files()) == 2
    assert GeneratedImage.objects.count() == 1


def test_rows_that_break_a_rule_fail_the_job_at_once(submit, loop, monkeypatch):
    def record(kind: Picture, job: Job, output: object) -> dict:
        raise IntegrityError

    monkeypatch.setattr(Picture, "record", record)
    assert run(submit, loop, "picture").error["code"] == "internal_error"
    assert files() == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_leaves_the_job_to_the_sweep(submit, loop, monkeypatch):
    def away(**arguments) -> None:
        raise OperationalError

    monkeypatch.setattr(lifecycle, "finish_job", away)
    job = submit("noop")
    loop.run_once()
    assert now_as(job).status == Status.RUNNING
    assert loop.keeper.tokens() == []


def test_a_worker_that_was_told_to_stop_hands_back_what_it_has_just_claimed(submit, loop):
    job = submit("sleep", {"steps": 3})
    loop.interrupted.set()
    loop.run_once()
    assert (now_as(job).status, now_as(job).attempt) == (Status.QUEUED, 0)


def test_the_lease_keeper_outlives_whatever_its_chores_raise(submit, loop, monkeypatch):
    turns: list[int] = []

    def stumble(*, heard: bool) -> None:
        turns.append(1)
        loop.keeper.ended.set() if len(turns) > 1 else None
        raise ZeroDivisionError

    monkeypatch.setattr(loop.keeper, "turn", stumble)
    loop.keeper.run()
    assert len(turns) == 2


def test_tidying_that_fails_or_takes_long_holds_up_no_heartbeat(loop, monkeypatch):
    import threading

    gate = threading.Event()
    monkeypatch.setattr(loop.keeper, "clean", lambda is_ending: gate.wait())
    loop.keeper.next_clean = 0
    loop.keeper.turn()
    loop.keeper.turn()
    assert loop.keeper.cleaner.is_alive()
    gate.set()
    loop.keeper.cleaner.join(5)


# ---------------------------------------------------------------- events


def test_events_are_numbered_without_gaps_and_end_with_result_and_state(submit, loop):
    job = run(submit, loop, "tokens", count=3)
    rows = list(job.events.values_list("sequence", "type"))
    assert rows == [(1, "status"), (2, "status"), (3, "token"), (4, "token"), (5, "token"), (6, "result"), (7, "status")]
    assert job.event_sequence == 7


def test_only_the_newest_preview_is_kept_and_none_after_the_end(submit, loop, claim):
    submit("sleep")
    runner = start_running(claim())
    for step in (1, 2, 3):
        runner.progress(step=step, steps=5, preview=b"jpeg")
        runner.flush()
    previews = runner.job.events.filter(type="preview")
    assert [event.data["step"] for event in previews] == [3]
    lifecycle.fail_job(job=runner.job, error=DarkroomError("x", 500, "x"))
    assert not previews.all().exists()


class NumberStream(JobStream):
    def encode(self, event: JobEvent) -> list[bytes]:
        return [b"%d" % event.sequence]


@pytest.mark.parametrize("after", range(8))
def test_a_reader_resumes_after_any_event(after, submit, loop):
    job = run(submit, loop, "tokens", count=3)
    stream = NumberStream(job.pk, after)
    assert read_all([stream]) == [[b"%d" % number for number in range(after + 1, 8)]]
    assert stream.is_over


def test_deleting_a_job_takes_its_events_pictures_and_files(submit, loop, django_capture_on_commit_callbacks):
    job = run(submit, loop, "picture")
    with django_capture_on_commit_callbacks(execute=True):
        job.delete()
    assert (files(), GeneratedImage.objects.count(), JobEvent.objects.count()) == ([], 0, 0)


@pytest.fixture
def notifications() -> Iterator[Subscription]:
    notifications = subscribe("web")
    yield notifications
    notifications.close()


@pytest.mark.django_db(transaction=True)
def test_the_web_hears_of_an_end_with_the_next_claim_and_not_twice(submit, loop, notifications):
    submit(), submit()
    loop.run_once()
    assert notifications.wait(10)  # the first claim
    assert not notifications.wait(0.05)
    loop.run_once()
    assert notifications.wait(10)  # the second, which tells of the first job's end


@pytest.mark.django_db(transaction=True)
def test_the_web_hears_of_an_end_when_nothing_else_waits(submit, loop, notifications):
    submit()
    loop.run_once()
    assert notifications.wait(10)
    assert not loop.run_once()
    assert notifications.wait(10)


@pytest.mark.django_db(transaction=True)
def test_the_web_hears_of_progress_while_the_job_runs(submit, loop, notifications):
    heard = []
    submit("sleep", {"steps": 3, "seconds": 0.3})
    listening = threading.Thread(target=lambda: heard.extend(notifications.wait(10) for _ in range(3)))
    listening.start()
    loop.publisher.start()
    loop.run_once()
    listening.join()
    loop.publisher.stop()
    loop.publisher.join(10)
    assert heard == [True, True, True]  # the claim, and two steps as they are done


@pytest.mark.django_db(transaction=True)
def test_the_web_hears_at_once_of_each_job_of_a_batch(submit, loop, notifications):
    submit("batched"), submit("batched")
    loop.run_once()
    count = 0
    while notifications.wait(0.2):
        count += 1
    assert count >= 1
    assert not loop.run_once()
    assert not notifications.wait(0.05)  # nothing was postponed
