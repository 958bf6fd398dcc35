"""A job that waits for its children: no worker waits with it, and whatever happens, nothing is lost, doubled or stuck."""

import pytest

from api.access.scopes import OwnerLimits
from api.access.services import create_key
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.models import Job
from api.jobs.running import ChildJob, Waiting
from api.jobs.states import ACTIVE, Status
from api.jobs.worker.endings import end, start_running
from api.jobs.worker.loop import WorkerLoop
from api.jobs.worker.retention import clean_history
from api.jobs.worker.sweep import sweep
from tests.jobs.conftest import now_as
from tests.jobs.parents import Submit, assert_complete, assert_settled, run_all, run_batches, states, times_queued

pytestmark = pytest.mark.django_db


# ---------------------------------------------------------------- the way of a parent


def test_one_worker_runs_a_parent_and_its_20_children(submit: Submit, loop):
    parent = submit("parent", {"count": 20})
    run_all(loop)
    assert_complete(parent, 20)
    assert states(parent) == ["succeeded"] * 20
    assert times_queued(parent) == 2


def test_children_are_jobs_of_the_parents_owner_with_its_priority(submit: Submit, loop):
    parent = submit("parent", {"child_params": {"a": 1}}, owner_key="bob", priority=7)
    loop.run_once()
    child = parent.children.get()
    assert (child.owner_key, child.priority, child.params) == ("bob", 7, {"a": 1})


def test_a_parent_that_waits_is_shown_as_running_with_its_childrens_progress(submit: Submit, loop, client):
    parent = submit("parent", {"count": 4})
    run_batches(loop, 2)
    shown = client.get(f"/api/jobs/{parent.pk}/").json()
    assert (shown["status"], shown["queue_position"]) == ("running", None)
    assert shown["progress"] == {"fraction": 0.25, "step": 1, "steps": 4}


def test_a_parent_that_waits_has_neither_worker_nor_lease_and_is_not_taken_for_lost(submit: Submit, loop):
    parent = submit("parent", {"count": 2})
    loop.run_once()
    sweep()
    lifecycle.release_worker(loop.worker.pk)
    now = now_as(parent)
    assert (now.is_waiting, now.worker, now.lease_expires_at) == (True, None, None)
    run_all(WorkerLoop())
    assert_complete(parent, 2)


def test_being_queued_again_is_no_attempt_and_no_worse_place(submit: Submit, loop):
    parent = submit("parent", {"count": 1})
    loop.run_once()
    submit("noop", priority=-1)
    later = [submit("noop") for _ in range(3)]
    Job.objects.filter(pk__in=[job.pk for job in later]).update(priority=-1)
    run_batches(loop, 1)  # the child
    assert now_as(parent).attempt == 0
    run_batches(loop, 1)
    assert now_as(parent).status == Status.SUCCEEDED
    assert now_as(parent).attempt == 1


def test_attempts_before_the_children_are_not_held_against_what_comes_after(submit: Submit, loop):
    parent = submit("parent", {"count": 1})
    for _ in range(2):
        lifecycle.hand_back(job=lifecycle.claim_jobs(worker=loop.worker)[0], reason="It stopped")
        Job.objects.update(available_at="2020-01-01T00:00:00Z")
    run_batches(loop, 2)
    submit("noop")
    loop.run_once()
    assert (now_as(parent).status, now_as(parent).attempt) == (Status.SUCCEEDED, 1)


def test_it_began_when_it_was_first_claimed(submit: Submit, loop):
    parent = submit("parent", {"count": 3})
    loop.run_once()
    started = now_as(parent).started_at
    run_all(loop)
    assert now_as(parent).started_at == started
    assert now_as(parent).timings["queue"] == pytest.approx((started - parent.created_at).total_seconds(), abs=0.001)


def test_warnings_and_timings_of_both_halves_are_kept(submit: Submit, loop):
    parent = submit("parent", {"count": 1, "seconds": 0.05})
    run_all(loop)
    assert now_as(parent).warnings == ["It waits for 1 more."]
    assert now_as(parent).timings["parent"] >= 0.1


def test_a_parent_may_wait_again_for_more(submit: Submit, loop):
    parent = submit("parent", {"count": 3, "rounds": 3})
    run_all(loop)
    assert_complete(parent, 9)


def test_a_child_may_be_a_parent(submit: Submit, loop):
    parent = submit("parent", {"count": 2, "child": "parent", "child_params": {"count": 3}})
    run_all(loop)
    assert_complete(parent, 2)
    assert Job.objects.count() == 1 + 2 + 6


def test_a_wait_without_children_is_refused():
    with pytest.raises(ValueError, match="Without children"):
        Waiting(None, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("child", ["refuse", "broken", "silent"])
def test_a_child_that_fails_does_not_end_its_parent(submit: Submit, loop, child):
    parent = submit("parent", {"count": 3, "child": child})
    run_all(loop)
    assert_complete(parent, 3)
    assert [status for _, status, _ in now_as(parent).result["children"]] == ["failed"] * 3


def test_children_of_an_unknown_kind_fail_and_the_parent_goes_on(submit: Submit, loop):
    parent = submit("parent", {"count": 2, "child": "gone"})
    run_all(loop)
    assert_complete(parent, 2)
    assert states(parent) == ["failed"] * 2


# ---------------------------------------------------------------- limits


def test_children_wait_for_their_turns_where_there_are_more_than_the_owners_limit(submit: Submit, loop):
    key, _ = create_key(name="small", max_active_jobs=3)
    parents = [submit("parent", {"count": 4}, owner_key=key.prefix, limits=key.limits) for _ in range(2)]
    run_all(loop)
    for parent in parents:
        assert_complete(parent, 4)


def test_children_count_against_the_owners_limit(submit: Submit, loop):
    key, _ = create_key(name="small", max_active_jobs=3)
    submit("parent", {"count": 2}, owner_key=key.prefix, limits=key.limits)
    loop.run_once()
    with pytest.raises(DarkroomError, match="3 jobs queued or running") as refusal:
        submit("noop", owner_key=key.prefix, limits=key.limits)
    assert (refusal.value.code, refusal.value.status) == ("too_many_jobs", 429)


def test_a_parent_goes_on_where_the_queue_is_full(submit: Submit, loop, settings):
    settings.MAX_QUEUED_JOBS = 3
    parent = submit("parent", {"count": 4})
    run_all(loop)
    assert_complete(parent, 4)


@pytest.mark.parametrize("limit", [1, 5])
def test_a_parent_whose_children_are_known_to_be_too_many_is_refused_at_once(submit: Submit, limit):
    with pytest.raises(DarkroomError, match=f"This is 6 jobs, and {limit} queued or running is your limit") as refusal:
        submit("counted_parent", {"count": 5}, limits=OwnerLimits(max_active_jobs=limit))
    assert (refusal.value.code, refusal.value.status) == ("too_many_jobs", 429)
    assert not Job.objects.exists()


def test_there_must_be_room_for_them_beside_what_is_under_way(submit: Submit, loop):
    limits = OwnerLimits(max_active_jobs=6)
    other = submit("noop", limits=limits)
    with pytest.raises(DarkroomError, match="This is 6 jobs"):
        submit("counted_parent", {"count": 5}, limits=limits)
    lifecycle.cancel_job(job=other)
    parent = submit("counted_parent", {"count": 5}, limits=limits)
    run_all(loop)
    assert_complete(parent, 5)


def test_a_queue_without_room_for_known_children_is_full(submit: Submit, settings):
    settings.MAX_QUEUED_JOBS = 5
    with pytest.raises(DarkroomError) as refusal:
        submit("counted_parent", {"count": 5})
    assert (refusal.value.code, refusal.value.status) == ("queue_full", 503)


def test_a_retry_of_a_parent_needs_room_for_its_children_too(submit: Submit, loop):
    key, _ = create_key(name="small", max_active_jobs=6)
    parent = submit("counted_parent", {"count": 5}, owner_key=key.prefix, limits=key.limits)
    run_all(loop)
    submit("noop", owner_key=key.prefix)
    with pytest.raises(DarkroomError, match="This is 6 jobs"):
        lifecycle.retry_job(job=now_as(parent))


# ---------------------------------------------------------------- cancelled at each point


def test_cancelled_before_it_began(submit: Submit, loop):
    parent = lifecycle.cancel_job(job=submit("parent", {"count": 20}))
    run_all(loop)
    assert (parent.status, states(parent)) == (Status.CANCELLED, [])
    assert_settled()


def test_cancelled_before_it_waits_it_submits_nothing(submit: Submit, claim):
    """The worker hasn't heard of it."""
    submit("parent")
    job = claim()
    lifecycle.cancel_job(job=job)
    end(Waiting(start_running(job), [ChildJob("noop", {})]))
    assert now_as(job).status == Status.CANCELLED
    assert states(job) == []
    assert_settled()


@pytest.mark.parametrize("ended", [0, 1, 10, 19])
def test_cancelled_while_it_waits_its_queued_children_are_too(submit: Submit, loop, ended):
    parent = submit("parent", {"count": 20})
    run_batches(loop, 1 + ended)
    assert lifecycle.cancel_job(job=parent).status == Status.CANCELLED
    assert states(parent) == ["succeeded"] * ended + ["cancelled"] * (20 - ended)
    run_all(loop)
    assert_settled()


def test_cancelled_while_children_run_it_ends_with_the_last_of_them(submit: Submit, loop, client):
    parent = submit("parent", {"count": 5})
    loop.run_once()
    running = [lifecycle.claim_jobs(worker=loop.worker)[0] for _ in range(2)]
    assert lifecycle.cancel_job(job=parent).status == Status.RUNNING
    assert lifecycle.cancelled_ids([job.lease_token for job in running]) == {job.pk for job in running}
    assert client.delete(f"/api/jobs/{parent.pk}/").status_code == 409
    lifecycle.acknowledge_cancel(job=running[0])
    assert now_as(parent).status == Status.RUNNING
    lifecycle.finish_job(job=running[1], result={})  # it was quicker
    assert now_as(parent).status == Status.CANCELLED
    run_all(loop)
    assert states(parent).count("cancelled") == 4
    assert_settled()


def test_cancelled_between_its_last_child_and_its_second_half(submit: Submit, loop):
    parent = submit("parent", {"count": 2})
    run_batches(loop, 3)
    assert now_as(parent).status == Status.QUEUED
    assert lifecycle.cancel_job(job=parent).status == Status.CANCELLED
    run_all(loop)
    assert_settled()


def test_cancelled_in_its_second_half(submit: Submit, loop):
    parent = submit("parent", {"count": 2})
    run_batches(loop, 3)
    job = lifecycle.claim_jobs(worker=loop.worker)[0]
    assert lifecycle.cancel_job(job=job).status == Status.RUNNING
    lifecycle.hand_back(job=job, reason="It stopped")
    assert now_as(parent).status == Status.CANCELLED
    assert_settled()


def test_a_cancel_goes_down_to_grandchildren(submit: Submit, loop):
    parent = submit("parent", {"count": 2, "child": "parent", "child_params": {"count": 2}})
    run_batches(loop, 3)
    running = lifecycle.claim_jobs(worker=loop.worker)[0]
    assert lifecycle.cancel_job(job=parent).status == Status.RUNNING
    assert Job.objects.filter(status__in=ACTIVE).count() == 3  # the grandchild that runs, its parent, and theirs
    lifecycle.acknowledge_cancel(job=running)
    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}
    assert_settled()


def test_a_cancelled_child_does_not_end_its_parent(submit: Submit, loop):
    parent = submit("parent", {"count": 3})
    loop.run_once()
    for child in list(parent.children.all()):
        lifecycle.cancel_job(job=child)
    run_all(loop)
    assert_complete(parent, 3)
    assert states(parent) == ["cancelled"] * 3


# ---------------------------------------------------------------- retried, deleted


@pytest.mark.parametrize("batches", [0, 1, 10, 21, 22])
def test_a_retry_makes_new_children_wherever_the_first_stands(submit: Submit, loop, batches):
    parent = submit("parent", {"count": 20})
    run_batches(loop, batches)
    again = lifecycle.retry_job(job=now_as(parent))
    run_all(loop)
    assert_complete(parent, 20)
    assert_complete(again, 20)
    assert Job.objects.count() == 42


def test_a_retry_of_a_child_is_nobodys_child(submit: Submit, loop):
    parent = submit("parent", {"count": 2})
    run_all(loop)
    again = lifecycle.retry_job(job=parent.children.first())
    run_all(loop)
    assert (now_as(again).parent, now_as(again).status) == (None, Status.SUCCEEDED)
    assert_complete(parent, 2)


def test_deleting_a_parent_deletes_its_children(submit: Submit, loop, client):
    parent = submit("parent", {"count": 4, "child": "parent"})
    other = submit("noop")
    run_batches(loop, 4)
    assert client.delete(f"/api/jobs/{parent.pk}/").status_code == 204
    run_all(loop)
    assert list(Job.objects.all()) == [other]


def test_a_child_that_is_deleted_is_not_waited_for(submit: Submit, loop, client):
    parent = submit("parent", {"count": 1})
    loop.run_once()
    assert client.delete(f"/api/jobs/{parent.children.get().pk}/").status_code == 204
    assert now_as(parent).status == Status.QUEUED


def test_retention_takes_children_with_their_parent_and_not_before(submit: Submit, loop, settings):
    settings.JOB_RETENTION_DAYS = 1
    parent = submit("parent", {"count": 2})
    run_batches(loop, 2)
    Job.objects.update(created_at="2020-01-01T00:00:00Z")
    clean_history()
    assert len(states(parent)) == 2
    run_all(loop)
    clean_history()
    assert not Job.objects.exists()
