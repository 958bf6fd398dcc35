"""A request becomes one row, or a refusal."""

import contextlib

import pytest
from django.db import DatabaseError

from api.access.scopes import OwnerLimits
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.jobs.store import admission, transitions
from tests.jobs.conftest import at_once

pytestmark = pytest.mark.django_db


def test_a_submitted_job_is_queued_and_says_so_in_its_first_event(submit):
    job = submit(params={"steps": 3})
    assert (job.status, job.attempt, job.params) == (Status.QUEUED, 0, {"steps": 3})
    assert list(job.events.values_list("sequence", "type", "data")) == [(1, "status", {"status": "queued"})]


def test_what_is_returned_is_what_is_stored(submit):
    """Columns that a request says nothing of are as Django leaves them in a new row."""
    first = submit()
    fields = {"params": {"a": [1, None]}, "prompt": "a lake", "priority": 3, "idempotency_key": "k", "body_hash": "h"}
    job = submit(**fields, retry_of=first, only_worker_id=first.pk, owner_key="bob")
    stored, new = Job.objects.get(pk=job.pk), Job(event_sequence=1)
    said = {"id", *transitions.REQUESTED}
    for field in Job._meta.concrete_fields:
        assert getattr(job, field.attname) == getattr(stored, field.attname), field.name
        if field.name not in said and field not in transitions.FILLED_IN:
            assert getattr(stored, field.attname) == getattr(new, field.attname), field.name
    assert (job._state.adding, job._state.db) == (False, "default")


def test_equal_requests_with_one_key_are_one_job(submit):
    first = submit(idempotency_key="k", body_hash="a")
    assert submit(idempotency_key="k", body_hash="a") == first
    assert Job.objects.count() == 1


def test_a_key_used_with_another_body_is_refused(submit):
    submit(idempotency_key="k", body_hash="a")
    with pytest.raises(DarkroomError) as refused:
        submit(idempotency_key="k", body_hash="b")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")


def test_the_same_key_of_another_owner_is_another_job(submit):
    assert submit(idempotency_key="k", owner_key="alice") != submit(idempotency_key="k", owner_key="bob")


def test_jobs_without_a_key_are_never_taken_for_one(submit):
    assert submit() != submit()


def test_a_replay_of_a_job_that_ended_gives_that_job(submit, loop):
    job = submit(idempotency_key="k")
    loop.run_once()
    assert submit(idempotency_key="k").status == Status.SUCCEEDED
    assert submit(idempotency_key="k") == job


def test_one_more_than_the_owners_limit_is_refused_with_429(submit):
    submit(limits=OwnerLimits(2)), submit(limits=OwnerLimits(2))
    with pytest.raises(DarkroomError) as refused:
        submit(limits=OwnerLimits(2))
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "5")
    assert submit(limits=OwnerLimits(2), owner_key="bob")


def test_a_replay_is_answered_even_where_the_limit_is_reached(submit):
    job = submit(limits=OwnerLimits(1), idempotency_key="k")
    assert submit(limits=OwnerLimits(1), idempotency_key="k") == job


def test_jobs_that_ended_dont_count_towards_the_limit(submit, loop):
    submit(limits=OwnerLimits(1))
    loop.run_once()
    assert submit(limits=OwnerLimits(1))


def test_a_full_queue_is_refused_with_503(submit, settings):
    settings.MAX_QUEUED_JOBS = 2
    submit(owner_key="a"), submit(owner_key="b")
    with pytest.raises(DarkroomError) as refused:
        submit(owner_key="c")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "15")


def test_a_link_that_fails_leaves_no_job(submit):
    def link(job: Job) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        submit(link=link)
    assert not Job.objects.exists()


def test_a_broken_notification_loses_no_job(submit, monkeypatch, django_capture_on_commit_callbacks):
    def broken(listener: str) -> None:
        raise DatabaseError

    monkeypatch.setattr("api.jobs.notify.wakeups.notify", broken)
    with django_capture_on_commit_callbacks(execute=True):
        assert submit().status == Status.QUEUED


def test_a_retry_is_a_new_job_with_the_same_parameters_linked_to_the_old(submit, loop):
    old = submit(kind="refuse", params={"seed": 7}, model_id="m", prompt="p", priority=3, idempotency_key="k")
    loop.run_once()
    new = lifecycle.retry_job(job=old)
    assert (new.kind, new.params, new.model_id, new.prompt, new.priority) == ("refuse", {"seed": 7}, "m", "p", 3)
    assert (new.retry_of, new.status, new.idempotency_key) == (old, Status.QUEUED, None)


@pytest.mark.django_db(transaction=True)
def test_two_hundred_equal_requests_at_once_are_one_job(submit):
    jobs = at_once([lambda: submit(idempotency_key="k", body_hash="a")] * 200)
    assert len({job.pk for job in jobs}) == 1
    assert Job.objects.count() == JobEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_equal_requests_at_once_are_never_refused_for_a_quota_that_their_twin_filled(submit):
    jobs = at_once([lambda: submit(idempotency_key="k", limits=OwnerLimits(1))] * 60)
    assert len({job.pk for job in jobs}) == 1


@pytest.mark.django_db(transaction=True)
def test_the_limit_is_exact_however_many_submit_at_once(submit):
    answers = at_once([lambda: submit(limits=OwnerLimits(5))] * 60)
    assert Job.objects.count() == 5
    assert sum(isinstance(answer, DarkroomError) for answer in answers) == 55


@pytest.mark.parametrize(("moment", "admitted"), [(0.0, 5), (60.0, 8)])
def test_plenty_of_room_is_remembered_for_a_moment_and_no_longer(submit, settings, monkeypatch, moment, admitted):
    """Here three rooms are plenty; who counts at each job stops at the limit, and who remembers for a minute does not."""
    monkeypatch.setattr(admission, "PLENTY", 3)
    monkeypatch.setattr(admission, "AT_ONCE", 1)
    monkeypatch.setattr(admission, "MOMENT", moment)
    settings.MAX_QUEUED_JOBS = 5
    for _ in range(8):
        with contextlib.suppress(DarkroomError):
            submit()
    assert Job.objects.count() == admitted


def test_close_to_a_limit_nothing_is_remembered(submit, settings):
    settings.MAX_QUEUED_JOBS = admission.PLENTY - 1
    submit()
    assert not any(number == settings.MAX_QUEUED_JOBS for _, _, number in admission._plenty_until)
