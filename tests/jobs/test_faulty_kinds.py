"""Mistakes in a capability's code end its own jobs, with the reason in the log; not its worker, the history, or other jobs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, OperationalError
from rest_framework.test import APIClient

from api.jobs import kinds, lifecycle
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Finished, Outcome, RunningJob
from api.jobs.states import Status
from api.jobs.worker.loop import WorkerLoop
from tests.jobs.conftest import now_as

pytestmark = pytest.mark.django_db


class Faulty(JobKind):
    name = "faulty"
    outcome: Callable[[RunningJob], Any]

    def run(self, batch: Sequence[RunningJob]) -> Iterator[Outcome]:
        yield type(self).outcome(batch[0])


@pytest.fixture
def run(submit: Any, loop: WorkerLoop, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    monkeypatch.setitem(kinds._kinds, "faulty", Faulty())

    def run_one(outcome: Callable[[RunningJob], Any]) -> Job:
        monkeypatch.setattr(Faulty, "outcome", staticmethod(outcome), raising=False)
        job = submit("faulty")
        assert loop.run_once()
        return now_as(job)

    return run_one


def no_table(run: RunningJob) -> Outcome:
    raise OperationalError("no such table: captions") from ValueError


def unkept_warning(run: RunningJob) -> Outcome:
    run.warnings.append(object())  # type: ignore[arg-type]
    return Finished(run, {})


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (no_table, "internal_error"),  # SQLite's word for it is the one for a database that is away
        (unkept_warning, "internal_error"),
        (lambda run: None, "internal_error"),
    ],
    ids=["no_table", "warning", "no_outcome"],
)
def test_its_job_fails_at_once(outcome: Any, code: str, run: Callable[..., Job]) -> None:
    job = run(outcome)
    assert (job.status, job.error["code"], job.attempt) == (Status.FAILED, code, 1)


def test_what_no_database_or_answer_can_hold_is_left_out(run: Callable[..., Job], client: APIClient) -> None:
    """Of one job with half of a surrogate pair, each page of the history would be an error."""
    text = "Hi \ud83d\ude00 \ud83d, \\ud83d a\x00b \\u0000"
    kept = "Hi \U0001f600 \ufffd, \\ud83d ab \\u0000"
    job = run(lambda run: Finished(run, {"text": text, text: [text]}))
    assert job.result == {"text": kept, kept: [kept]}
    assert client.get("/api/jobs/").json()["results"][0]["result"]["text"] == kept


def test_a_result_that_cant_be_shown_is_as_its_row_has_it(run: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run(lambda run: Finished(run, {"a": 1}))
    monkeypatch.setattr(Faulty, "render", lambda *_, **__: {}["b"])
    monkeypatch.setattr(Faulty, "read_spec", lambda *_: {}["b"])
    [shown] = client.get("/api/jobs/").json()["results"]
    assert (shown["result"], shown["params"]) == ({"a": 1}, {})


def test_a_request_that_cant_be_read_ends_its_own_job_alone(submit: Any, loop: WorkerLoop, monkeypatch: Any) -> None:
    monkeypatch.setitem(kinds._kinds, "faulty", Faulty())
    job = submit("faulty")
    monkeypatch.setattr(Faulty, "read_spec", lambda *_: {}["b"])
    assert loop.run_once()
    assert now_as(job).error["code"] == "unreadable_params"


@pytest.mark.parametrize("name", ["", "noop", "Captions", "a'b", "x" * 41])
def test_a_name_is_one_and_its_own(name: str) -> None:
    """Another's would take that kind's requests, and names are written into SQL."""
    with pytest.raises(ImproperlyConfigured, match="name"):
        kinds.register(type("Captions", (JobKind,), {"name": name})())
    assert type(kinds.get_kind("noop")).__name__ == "Noop"


@pytest.mark.django_db(transaction=True)
def test_a_retry_of_a_job_that_is_deleted_meanwhile_says_so(submit: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit()
    lifecycle.cancel_job(job=job)
    found = kinds.read_spec

    def read_spec(job: Job) -> Any:
        Job.objects.filter(pk=job.pk).delete()
        return found(job)

    monkeypatch.setattr("api.jobs.lifecycle.submit.read_spec", read_spec)
    reply = client.post(f"/api/jobs/{job.pk}/retry/")
    assert (reply.status_code, reply.json()["code"]) == (409, "deleted_meanwhile")


def test_a_deletion_that_a_retry_came_into_is_done_once_more(submit: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, delete, tries = submit(), Job.delete, []

    def delete_late(job: Job) -> Any:
        tries.append(job.pk)
        if len(tries) == 1:
            raise IntegrityError("violates foreign key constraint")
        return delete(job)

    monkeypatch.setattr(Job, "delete", delete_late)
    assert client.delete(f"/api/jobs/{job.pk}/").status_code == 204
    assert not Job.objects.filter(pk=job.pk).exists()
