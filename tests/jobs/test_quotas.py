"""What an owner has used, and that a quota is never passed: counted with the rows that it is about, whatever becomes of them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.access.scopes import OwnerLimits
from api.access.services import create_key
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.children import wait_for_children
from api.jobs.errors import LeaseLost
from api.jobs.models import DailyUse, Job, JobEnding
from api.jobs.running import ChildJob
from api.jobs.states import Status
from api.jobs.store.usage import Use, read_totals
from api.jobs.worker.loop import WorkerLoop
from api.quotas import NAMES, STORED, Amount, Quota, quotas_in_force, read_quotas
from api.system.ended_job_counts import count_ended_jobs
from tests.jobs.conftest import at_once, expire_lease, now_as
from tests.jobs.parents import Submit, run_all, states
from tests.walks import check_each

pytestmark = pytest.mark.django_db
OWNER, SIZE = "alice", len("not a real png")
ONE = {"jobs": 1, "pictures": 1, "pixels": 256, "bytes": SIZE}
NOTHING = dict.fromkeys(ONE, 0)


def limits(**quotas: int) -> OwnerLimits:
    return OwnerLimits(quotas=quotas_in_force(quotas, {}))


def totals(owner: str = OWNER) -> dict[str, Use]:
    return read_totals([owner])[owner]


def used(period: str = "day") -> dict[str, int]:
    return {measure: totals()[f"{measure}_per_{period}"].used for measure in ONE}


def reserved() -> dict[str, int]:
    return {measure: totals()[f"{measure}_per_day"].reserved for measure in ONE}


def refused(function: Callable[[], Any]) -> DarkroomError:
    with pytest.raises(DarkroomError) as found:
        function()
    assert (found.value.code, found.value.status) == ("quota_exceeded", 429)
    return found.value


# ---------------------------------------------------------------- counting


def succeed(job: Job, loop: WorkerLoop) -> None:
    run_all(loop)


def succeed_on_the_second_try(job: Job, loop: WorkerLoop) -> None:
    claimed = lifecycle.claim_jobs(worker=loop.worker)[0]
    lifecycle.hand_back(job=claimed, reason="It was killed", blameless=True)
    run_all(loop)


def end_twice(job: Job, loop: WorkerLoop) -> None:
    """The worker that lost its lease comes too late."""
    late = lifecycle.claim_jobs(worker=loop.worker)[0]
    expire_lease(late)
    lifecycle.hand_back(job=late, reason="It stopped answering", blameless=True, if_expired=True)
    run_all(loop)
    with pytest.raises(LeaseLost):
        lifecycle.finish_job(job=late, record=lambda one: one.count_picture(9, 9, 9) or {})  # type: ignore[func-returns-value]


def delete_afterwards(job: Job, loop: WorkerLoop) -> None:
    run_all(loop)
    Job.objects.all().delete()


def count_and_forget(job: Job, loop: WorkerLoop) -> None:
    """As retention does it."""
    run_all(loop)
    count_ended_jobs()
    Job.objects.all().delete()
    JobEnding.objects.all().delete()


def cancel_queued(job: Job, loop: WorkerLoop) -> None:
    lifecycle.cancel_job(job=job)


def fail(job: Job, loop: WorkerLoop) -> None:
    claimed = lifecycle.claim_jobs(worker=loop.worker)[0]
    claimed.count_picture(16, 16, SIZE)  # its rows were made, and their transaction was undone
    lifecycle.fail_job(job=claimed, error=DarkroomError("refused", 422, "No."))


def cancel_running(job: Job, loop: WorkerLoop) -> None:
    claimed = lifecycle.claim_jobs(worker=loop.worker)[0]
    lifecycle.cancel_job(job=claimed)
    lifecycle.acknowledge_cancel(job=claimed)


ENDS: dict[Callable[[Job, WorkerLoop], None], dict[str, int]] = {
    succeed: ONE, succeed_on_the_second_try: ONE, end_twice: ONE, delete_afterwards: ONE, count_and_forget: ONE,
    cancel_queued: NOTHING, cancel_running: NOTHING, fail: NOTHING,
}  # fmt: skip


def test_what_was_made_is_counted_once_and_what_was_not_is_given_back(submit: Submit, loop: WorkerLoop) -> None:
    def check(end: Callable[[Job, WorkerLoop], None], expected: dict[str, int]) -> None:
        for table in (Job, JobEnding, DailyUse):
            table.objects.all().delete()
        job = submit("picture", limits=limits(pictures_per_day=1))
        assert (used(), reserved()) == (NOTHING, {**ONE, "bytes": 4 * 256})
        end(job, loop)
        assert (used(), used("month"), reserved()) == (expected, expected, NOTHING)
        count_ended_jobs(), count_ended_jobs()
        assert (used(), used("month"), reserved()) == (expected, expected, NOTHING)

    check_each(ENDS.items(), check)


def test_an_owner_without_quotas_is_counted_too(submit: Submit, loop: WorkerLoop) -> None:
    submit("picture")
    run_all(loop)
    count_ended_jobs()
    assert used() == ONE


def test_days_and_months_are_those_of_utc_jobs_by_their_submission(submit: Submit, loop: WorkerLoop) -> None:
    submit("picture")
    run_all(loop)
    now = timezone.now()
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    JobEnding.objects.update(submitted_at=first - timedelta(minutes=1))
    for _ in range(2):  # before it is counted, and after
        assert used("month") == {**ONE, "jobs": 0}
        count_ended_jobs()
    assert dict(DailyUse.objects.values_list("day", "jobs")) == {(first - timedelta(days=1)).date(): 1, now.date(): 0}
    DailyUse.objects.filter(day=now.date()).update(day=first.date() if now.day > 1 else now.date())
    assert (used("day") == NOTHING) == (now.day > 1)
    assert used("month") == {**ONE, "jobs": 0}


# ---------------------------------------------------------------- limits


@pytest.mark.django_db(transaction=True)
def test_a_hundred_at_once_get_what_the_quota_leaves_and_no_more(submit: Submit) -> None:
    def one() -> Job:
        return submit("picture", limits=limits(pictures_per_day=10, jobs_per_month=50))

    results = at_once([one] * 100)
    assert sorted({type(result).__name__ for result in results}) == ["DarkroomError", "Job"]
    assert {result.code for result in results if isinstance(result, DarkroomError)} == {"quota_exceeded"}
    assert Job.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_no_moment_lets_more_in_while_jobs_end_and_are_counted(submit: Submit) -> None:
    """A job goes from the queue to the outbox to the day's row while others ask: it is always seen, and once."""
    done, loop = threading.Event(), WorkerLoop()

    def ask() -> int:
        accepted = 0
        for _ in range(25):
            try:
                submit("picture", limits=limits(pictures_per_month=40))
                accepted += 1
            except DarkroomError:
                pass
        return accepted

    def work() -> int:
        while not done.is_set():
            loop.run_once()
        return 0

    def count() -> int:
        while not done.is_set():
            count_ended_jobs()
        return 0

    def ask_and_stop() -> int:
        try:
            return ask()
        finally:
            done.set()

    results = at_once([ask, ask, ask_and_stop, work, count])
    assert all(isinstance(result, int) for result in results), results
    run_all(loop)
    assert sum(results) == Job.objects.count() <= 40
    more = at_once([ask] * 2)
    run_all(loop)
    count_ended_jobs()
    assert sum(results) + sum(more) == Job.objects.count() == 40
    assert used("month") == {name: 40 * value for name, value in ONE.items()}


def test_a_refusal_names_the_limit_the_use_and_when_it_begins_anew(submit: Submit, loop: WorkerLoop) -> None:
    submit("picture")
    run_all(loop)
    submit("picture", limits=limits(pictures_per_day=2))
    error = refused(lambda: submit("picture", limits=limits(pictures_per_day=2)))
    tomorrow = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
    assert error.detail == (
        "The limit pictures_per_day of your key is 2, of which 1 are used and 1 reserved by jobs under way; this asks for 1 more. "
        f"It begins anew at {tomorrow}."
    )
    assert 0 < int(error.headers["Retry-After"]) <= 86_400
    submit("noop", limits=limits(pictures_per_day=2))  # what asks for no picture goes on


def test_what_never_fits_says_so(submit: Submit) -> None:
    error = refused(lambda: submit("counted_parent", {"count": 5, "child": "picture"}, limits=limits(pictures_per_month=4)))
    assert error.detail == "This asks for 5, and the limit pictures_per_month of your key is 4: it never fits. Ask for less."
    assert error.headers == {}
    assert not Job.objects.exists()


def test_of_several_quotas_each_holds(submit: Submit) -> None:
    cases = {
        "jobs_per_day": 0, "jobs_per_month": 0, "pictures_per_day": 0, "pictures_per_month": 0, "pixels_per_day": 255,
        "pixels_per_month": 255, "bytes_per_day": 1023, "bytes_per_month": 1023, STORED: 1023,
    }  # fmt: skip
    assert set(cases) == set(NAMES)

    def check(name: str, limit: int) -> None:
        refused(lambda: submit("picture", limits=limits(**{name: limit})))
        submit("picture", limits=limits(**{name: 10_000_000}))

    check_each(cases.items(), check)


def test_a_repeated_request_is_answered_where_the_quota_is_used_up(submit: Submit) -> None:
    limit = limits(jobs_per_day=1)
    first = submit(limits=limit, idempotency_key="k")
    assert submit(limits=limit, idempotency_key="k") == first


def test_a_retry_is_asked_as_its_owners_first_request_is(submit: Submit, loop: WorkerLoop) -> None:
    key, _ = create_key(name="one", quotas={"jobs_per_day": 1})
    job = submit("noop", owner_key=key.prefix, limits=key.limits)
    run_all(loop)
    refused(lambda: lifecycle.retry_job(job=now_as(job)))


# ---------------------------------------------------------------- parents and children


def test_a_parent_hands_its_reservation_down(submit: Submit, loop: WorkerLoop) -> None:
    key, _ = create_key(name=OWNER, quotas={"pictures_per_day": 3, "jobs_per_day": 4})
    Job.objects.filter(owner_key=key.prefix).delete()

    def expected() -> list[int]:
        found = read_totals([key.prefix])[key.prefix]
        return [found[name].reserved + found[name].used for name in ("jobs_per_day", "pictures_per_day")]

    parent = submit("counted_parent", {"count": 3, "child": "picture"}, owner_key=key.prefix, limits=key.limits)
    assert expected() == [4, 3]
    while loop.run_once():  # it waits, its children run one after the other, it ends
        assert expected() == [4, 3]
    assert now_as(parent).status == Status.SUCCEEDED
    count_ended_jobs()
    assert expected() == [4, 3]


def test_children_that_were_not_reserved_are_asked_for_and_refused(submit: Submit, loop: WorkerLoop) -> None:
    """As the tools of a chat: a chat alone must not be the way around its key's quota of pictures."""
    key, _ = create_key(name=OWNER, quotas={"pictures_per_day": 2})
    fits, too_many = (
        submit("parent", {"count": count, "child": "picture"}, owner_key=key.prefix, limits=key.limits) for count in (1, 2)
    )
    run_all(loop)
    assert (now_as(fits).status, states(fits)) == (Status.SUCCEEDED, ["succeeded"])
    assert (now_as(too_many).status, states(too_many)) == (Status.FAILED, [])
    assert (now_as(too_many).error["code"], now_as(too_many).error["status"]) == ("quota_exceeded", 429)


def test_a_parent_that_goes_on_without_refused_children_is_told_of_each(submit: Submit, loop: WorkerLoop) -> None:
    """In the transaction, whatever was looked up before it. Where all are refused, nothing would end its wait: it is queued."""
    key, _ = create_key(name=OWNER, quotas={"pictures_per_day": 2})
    given: list[Job | DarkroomError] = []

    def wait(job: Job, *kinds: str) -> list[tuple[str, str]]:
        [claimed] = lifecycle.claim_jobs(worker=loop.worker)
        assert claimed == job
        given.clear()
        children = [ChildJob(kind, {}) for kind in kinds]
        wait_for_children(job=claimed, children=children, record=lambda rows: given.extend(rows) or [], goes_without=True)
        return [(one.kind, one.status) if isinstance(one, Job) else ("", one.code) for one in given]

    refused = ("", "quota_exceeded")
    first = submit("parent", owner_key=key.prefix, limits=key.limits)
    assert wait(first, "picture", "picture", "picture", "noop") == [
        ("picture", "queued"),
        ("picture", "queued"),
        refused,
        ("noop", "queued"),
    ]
    assert now_as(first).is_waiting
    second = submit("parent", owner_key=key.prefix, priority=100, limits=key.limits)
    assert wait(second, "picture", "picture", "picture") == [refused] * 3
    assert (now_as(second).status, now_as(second).attempt, second.children.count()) == (Status.QUEUED, 0, 0)
    run_all(loop)
    assert {now_as(job).is_final for job in (first, second)} == {True}


# ---------------------------------------------------------------- how they are written


@pytest.mark.parametrize(
    ("texts", "quotas"),
    [
        ([], {}),
        (["pixels_per_day=20M", "stored_bytes=1.5G"], {"pixels_per_day": 20_000_000, "stored_bytes": 3 * 2**29}),
        ([" jobs_per_month = 0 ", "pictures_per_day=none"], {"jobs_per_month": 0, "pictures_per_day": None}),
    ],
)
def test_limits_are_read(texts: list[str], quotas: dict[str, int | None]) -> None:
    assert read_quotas(texts) == quotas


@pytest.mark.parametrize(
    ("text", "words"),
    [("pictures=5", "'pictures=5' is no limit"), ("jobs_per_day", "is no limit"), ("jobs_per_day=-1", "not '-1'"),
     ("jobs_per_day=many", "not 'many'"), ("stored_bytes=9999999T", "whole number from 0 on"), ("jobs_per_day=", "not ''")],
)  # fmt: skip
def test_what_is_no_limit_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_quotas([text])


def test_a_keys_own_limits_go_before_the_general_ones(settings: Any) -> None:
    settings.KEY_QUOTAS = {"jobs_per_day": 5, "pictures_per_day": 7}
    own, _ = create_key(name="own", quotas={"jobs_per_day": None, "pictures_per_day": 9})
    assert own.limits.quotas == (Quota("pictures_per_day", 9),)
    assert create_key(name="none")[0].limits.quotas == (Quota("jobs_per_day", 5), Quota("pictures_per_day", 7))


def test_amounts_are_added_and_taken_away() -> None:
    two = Amount.of_pictures([(2, 3), (4, 5)])
    assert two == Amount(0, 2, 26, 104)
    assert two.plus(Amount(1)).less(Amount(5, 1, 26)) == Amount(0, 1, 0, 104)
