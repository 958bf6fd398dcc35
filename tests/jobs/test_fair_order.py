"""In which order jobs of several owners are claimed: by owner in turn, and by priority among one owner's own."""

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.access.scopes import OwnerLimits
from api.access.services import create_key
from api.jobs import lifecycle
from api.jobs.api.selectors import queue_position, queue_positions
from api.jobs.kinds import get_kind
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from api.jobs.store import transitions
from tests.jobs.conftest import now_as
from tests.rows import spec_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def run_next(worker: Worker) -> Callable[[], str]:
    """Claims the next batch, and ends it; returns the owner of its first job."""

    def run() -> str:
        jobs = lifecycle.claim_jobs(worker=worker)
        for job in jobs:
            lifecycle.finish_job(job=job, result={})
        return jobs[0].owner_key

    return run


def fill(owner: str, count: int, **fields: Any) -> None:
    for _ in range(count):
        lifecycle.submit_job(spec=spec_of("noop"), owner_key=owner, **fields)


def claimed_order(worker: Worker) -> list[Job]:
    order: list[Job] = []
    while jobs := lifecycle.claim_jobs(worker=worker):
        order += jobs
        for job in jobs:
            lifecycle.finish_job(job=job, result={})
    return order


# ---------------------------------------------------------------- shares


def test_an_owner_of_twice_the_weight_gets_twice_as_many_turns(worker):
    fill("a", 40)
    fill("b", 40, limits=OwnerLimits(weight=2))
    first = Counter(job.owner_key for job in claimed_order(worker)[:30])
    assert abs(first["b"] - 20) <= 1


def test_rows_inserted_in_another_order_than_that_of_their_ids_exchange_no_slots(worker, submit, monkeypatch):
    ids = [submit().pk for _ in range(20)]
    Job.objects.filter(pk=ids[0]).update(virtual_start=500, virtual_finish=501, owner_order=500)
    exchanges: list[Any] = []
    monkeypatch.setattr(transitions, "exchange_slots", exchanges.append)
    assert [job.pk for job in claimed_order(worker)] == [*ids[1:], ids[0]]
    assert exchanges == []


@pytest.mark.django_db(transaction=True)
def test_the_weight_of_a_key_counts_for_what_it_submits_retries_and_asks_for(client):
    key, token = create_key(name="twice", weight=4)
    body, headers = (
        {"backend": "heuristic", "variant": {"font": "serif"}},
        {"Prefer": "respond-async", "Authorization": f"Bearer {token}"},
    )
    job = client.post("/api/score/", body, "application/json", headers=headers).json()
    again = client.post(f"/api/jobs/{job['id']}/retry/", headers=headers).json()
    rows = [Job.objects.get(pk=one["id"]) for one in (job, again)]
    assert [row.virtual_finish - row.virtual_start for row in rows] == [0.25, 0.25]
    assert {row.owner_key for row in rows} == {key.prefix}


# ---------------------------------------------------------------- nobody starves


def test_one_job_behind_a_thousand_of_another_owner_is_in_the_next_batch(submit, claim, run_next):
    fill("a", 1000)
    running = [run_next(), claim().owner_key]
    submit(owner_key="b")
    assert running == ["a", "a"]
    assert claim().owner_key == "b"


def test_it_waits_for_one_batch_where_nothing_runs_when_it_comes(submit, run_next):
    fill("a", 20)
    assert run_next() == "a"
    submit(owner_key="b")
    assert "b" in [run_next(), run_next()]


def test_a_batch_that_reaches_far_into_the_queue_does_not_take_the_present_with_it(submit, worker, claim):
    submit("batched", owner_key="a")
    fill("a", 50)
    [submit("batched", owner_key="a") for _ in range(3)]
    assert len(lifecycle.claim_jobs(worker=worker)) == 4
    submit(owner_key="b")
    assert claim().owner_key == "b"


def test_jobs_that_join_a_session_do_not_take_the_present_with_them(submit, worker, claim):
    first = submit("batched", owner_key="a")
    fill("a", 50)
    assert lifecycle.claim_jobs(worker=worker) == [first]
    submit("batched", owner_key="a")
    assert len(lifecycle.claim_joining(worker=worker, batch_key=first.batch_key, limit=4)) == 1
    submit(owner_key="b")
    assert "b" in [claim().owner_key, claim().owner_key]


def test_the_newest_row_that_a_worker_begins_with_does_not_take_the_present_with_it(submit, worker, claim):
    fill("a", 50)
    Job.objects.filter(pk=Job.objects.earliest("id").pk).update(attempt=1)
    lifecycle.claim_jobs(worker=worker, is_first=True)
    submit(owner_key="b")
    assert "b" in [claim().owner_key, claim().owner_key]


def test_a_row_that_runs_again_does_not_turn_back_the_present(submit, worker, claim, run_next):
    tried = submit(owner_key="z")
    Job.objects.filter(pk=tried.pk).update(attempt=1)
    fill("a", 10), fill("c", 10)
    [run_next() for _ in range(8)]
    Job.objects.filter(pk=tried.pk).update(available_at="2020-01-01T00:00:00Z")  # it has let others go first for long enough
    assert claim() == tried
    fill("b", 5)
    assert Counter(claim().owner_key for _ in range(6)) == {"a": 2, "b": 2, "c": 2}


def test_owners_who_send_one_job_after_the_other_starve_nobody(submit, run_next):
    """None of them ever has a job queued when the next one comes."""
    fill("a", 30)
    [submit(owner_key=owner) for owner in ("b", "c")]
    seen = []
    for _ in range(30):
        seen.append(run_next())
        if seen[-1] != "a":
            submit(owner_key=seen[-1])
    assert Counter(seen)["a"] >= 10


def test_three_owners_with_equal_load_get_equal_shares(run_next):
    for owner in ("a", "b", "c"):
        fill(owner, 20)
    for _ in range(10):
        assert sorted(run_next() for _ in range(3)) == ["a", "b", "c"]


def test_an_owner_who_was_alone_owes_nothing_afterwards(run_next):
    fill("a", 30)
    [run_next() for _ in range(30)]
    fill("a", 4), fill("b", 4)
    assert Counter(run_next() for _ in range(4)) == {"a": 2, "b": 2}


def test_jobs_that_were_cancelled_while_queued_cost_their_owner_no_more_than_one_turn(submit, run_next):
    fill("a", 30), fill("b", 10)
    for job in Job.objects.filter(owner_key="a"):
        lifecycle.cancel_job(job=job)
    [run_next() for _ in range(4)]
    fill("a", 4)
    assert Counter(run_next() for _ in range(6))["a"] >= 2


def test_a_kind_that_costs_more_takes_more_of_its_owners_share(monkeypatch, run_next):
    monkeypatch.setattr(type(get_kind("noop")), "cost", lambda self, spec: spec.params.get("cost", 1.0))
    for _ in range(10):
        lifecycle.submit_job(spec=spec_of("noop", {"cost": 3.0}), owner_key="a")
    fill("b", 30)
    assert Counter(run_next() for _ in range(20)) == {"a": 5, "b": 15}


# ---------------------------------------------------------------- priority


def test_priority_acts_only_among_its_owners_own_jobs(run_next):
    fill("a", 20, priority=100), fill("b", 3)
    assert Counter(run_next() for _ in range(6)) == {"a": 3, "b": 3}


def test_an_owner_who_goes_on_sending_urgent_jobs_starves_nobody(submit, run_next):
    fill("a", 5), fill("b", 5)
    seen = []
    for _ in range(10):
        submit(owner_key="a", priority=100)
        seen.append(run_next())
    assert Counter(seen) == {"a": 5, "b": 5}


AHEAD = OwnerLimits(goes_first=True)


def test_jobs_of_a_key_that_goes_first_are_before_those_of_all_others_by_priority_and_in_turn(run_next):
    fill("a", 4, priority=100), fill("b", 4)
    fill("c", 2, priority=1, limits=AHEAD), fill("d", 1, priority=1, limits=AHEAD), fill("e", 1, priority=2, limits=AHEAD)
    assert [run_next() for _ in range(4)] == ["e", "c", "c", "d"]
    assert Counter(run_next() for _ in range(4)) == {"a": 2, "b": 2}


def test_jobs_of_such_a_key_that_ask_for_no_priority_wait_for_their_turns(run_next):
    fill("a", 4), fill("c", 4, limits=AHEAD), fill("c", 1, priority=-1, limits=AHEAD)
    assert Counter(run_next() for _ in range(4)) == {"a": 2, "c": 2}


def test_jobs_that_go_first_leave_the_turns_of_the_others_as_they_were(submit, claim, run_next):
    fill("a", 10), fill("b", 10)
    seen = [run_next() for _ in range(4)]
    fill("c", 3, priority=5, limits=AHEAD)
    claim()  # one of c runs when d comes
    fill("d", 5)
    seen += [run_next() for _ in range(11)]
    assert seen[4:6] == ["c", "c"]
    assert Counter(seen[:4]) == {"a": 2, "b": 2}
    assert Counter(seen[6:]) == {"a": 3, "b": 3, "d": 3}


def test_an_owner_who_went_first_is_an_owner_like_others_afterwards(run_next):
    fill("c", 3, priority=5, limits=AHEAD)
    fill("a", 5), fill("c", 5, limits=AHEAD)
    assert [run_next() for _ in range(3)] == ["c"] * 3
    assert Counter(run_next() for _ in range(4)) == {"a": 2, "c": 2}


def test_children_of_a_job_that_goes_first_go_first(submit, loop):
    key, _ = create_key(name="first", scopes=["submit", "priority"])
    fill("a", 5)
    parent = submit("parent", {"count": 2}, owner_key=key.prefix, priority=3, limits=key.limits)
    for _ in range(4):
        loop.run_once()
    assert now_as(parent).status == Status.SUCCEEDED
    assert Job.objects.filter(owner_key="a", status="queued").count() == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("scopes", "place"), [(["submit"], 3), (["staff"], 3), (["submit", "priority"], 0)])
def test_only_the_scope_priority_of_a_key_puts_its_jobs_before_others(client, scopes, place):
    fill("a", 3)
    _, token = create_key(name="key", scopes=scopes)
    body, headers = {"prompt": "a lake", "priority": 50}, {"Prefer": "respond-async", "Authorization": f"Bearer {token}"}
    for _ in range(3):
        assert client.post("/api/txt2img/", body, "application/json", headers=headers).status_code == 202
    order = list(Job.objects.order_by("virtual_start", "pk").values_list("owner_key", flat=True))
    assert (order[:3].count("a") == 0) == (place == 0)


def test_ones_own_jobs_are_claimed_by_priority_and_then_by_age(submit, worker):
    jobs = [submit(priority=priority) for priority in (0, 5, -3, 0, 9, 5)]
    assert claimed_order(worker) == [jobs[place] for place in (4, 1, 5, 0, 3, 2)]


@pytest.mark.parametrize("length", [1, 0])
def test_rows_of_one_owner_that_have_the_same_slot_take_turns_with_others(submit, worker, monkeypatch, length):
    """Two that were inserted at the same moment did not see each other, and a database of an older version has no slots at all: each
    is from 0 to 0 there, and an exchange that leaves it so is made for ever, inside the transaction that all others wait for.
    """
    jobs = [
        submit(owner_key=owner, priority=priority) for owner, priority in (("a", 0), ("a", 3), ("b", 1), ("a", 3), ("b", 2))
    ]
    Job.objects.update(virtual_start=0, virtual_finish=length, owner_order=0)
    exchanges = iter([transitions.exchange_slots] * 9)  # and no more
    monkeypatch.setattr(transitions, "exchange_slots", lambda turn: next(exchanges)(turn))
    order = claimed_order(worker)
    for owner, places in (("a", (1, 3, 0)), ("b", (4, 2))):
        assert [job for job in order if job.owner_key == owner] == [jobs[place] for place in places]


def test_a_new_owner_goes_before_rows_of_a_version_without_slots(submit, worker):
    """Those are at 0 all, and are given slots by a migration: from the first slot that others have."""
    late = submit(owner_key="d")
    Job.objects.update(virtual_start=50, virtual_finish=51, owner_order=50)
    fill("a", 30), fill("b", 3)
    Job.objects.exclude(pk=late.pk).update(virtual_start=0, virtual_finish=0, owner_order=0)
    import_module("api.jobs.migrations.0015_slots_of_old_rows").give_slots(apps, SimpleNamespace(connection=connection))
    new = submit(owner_key="c")
    order = claimed_order(worker)
    assert {order.index(new), order.index(late)} <= {0, 1, 2, 3}
    assert [job.owner_key for job in order[:11]].count("b") == 3
    for owner in "ab":
        own = [job.pk for job in order if job.owner_key == owner]
        assert own == sorted(own)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 1)), min_size=1, max_size=14))
def test_the_order_is_by_owner_in_turn_and_each_owners_own_by_priority(asked, worker):
    Job.objects.all().delete()
    jobs = [lifecycle.submit_job(spec=spec_of("noop"), owner_key=owner, priority=priority) for owner, priority in asked]
    foretold = queue_positions(jobs)
    assert [queue_position(job) for job in jobs] == [foretold[job.pk] for job in jobs]
    order = claimed_order(worker)
    owners = len({owner for owner, _ in asked})  # in which order those of one round come may change with an exchange of slots
    assert all(abs(foretold[job.pk] - place) < owners for place, job in enumerate(order))
    for owner in {owner for owner, _ in asked}:
        own = [job for job in order if job.owner_key == owner]
        assert own == sorted(own, key=lambda job: (-job.priority, job.pk))
    left = Counter(owner for owner, _ in asked)
    while left:  # each round has one job of everybody who has one left
        this_round = [order.pop(0).owner_key for _ in range(len(left))]
        assert set(this_round) == set(left)
        left -= Counter(this_round)


# ---------------------------------------------------------------- slots


def test_a_job_that_is_handed_back_keeps_its_place(submit, worker, claim):
    fill("a", 3)
    job = claim()
    lifecycle.hand_back(job=job, reason="The worker was told to stop", blameless=True)
    assert claim() == job


def test_the_place_in_the_queue_follows_the_turns(submit):
    fill("a", 3)
    late, urgent = submit(owner_key="b"), submit(owner_key="a", priority=1)
    assert queue_positions([late, urgent]) == {late.pk: 1, urgent.pk: 0}
    assert [queue_position(job) for job in (late, urgent)] == [1, 0]


def test_virtual_time_begins_anew_where_nothing_waits(submit, run_next):
    fill("a", 3)
    [run_next() for _ in range(3)]
    assert now_as(submit(owner_key="b")).virtual_start == 0


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_an_owners_slots_follow_each_other(submit, status):
    first = submit()
    Job.objects.filter(pk=first.pk).update(status=status)
    assert [submit().virtual_start for _ in range(3)] == [1, 2, 3]
    assert not Job.objects.exclude(virtual_finish=F("virtual_start") + 1).exists()
