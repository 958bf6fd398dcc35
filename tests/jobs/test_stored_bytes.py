"""What an owner keeps is never more than its quota, and a submission does not add up all of it."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from api.access.scopes import OwnerLimits
from api.errors import DarkroomError
from api.files import kept_bytes
from api.files.kept_bytes import stored_bytes, stored_bytes_within
from api.files.models import KeptBytes, StoredFile
from api.jobs.models import Job
from api.jobs.store.statements import run
from api.jobs.worker.loop import WorkerLoop
from api.quotas import STORED, quotas_in_force
from tests.jobs.conftest import at_once
from tests.jobs.parents import Submit, run_all

pytestmark = pytest.mark.django_db(transaction=True)
OWNER, PLENTY = "alice", 2**40
SIZE, RESERVED = 1000, 4 * 16 * 16


@pytest.fixture(autouse=True)
def statements_of_this_test() -> Iterator[None]:
    """Their text has MARGIN and its like."""
    yield
    for made in (kept_bytes.bound_sql, kept_bytes.step_sql, kept_bytes.sum_sql):
        made.cache_clear()


def make_file(size: int, **ago: float) -> StoredFile:
    name = str(time.perf_counter_ns())
    file = StoredFile.objects.create(owner_key=OWNER, purpose="output", name=name, sha256="0", size=size, width=1, height=1)
    StoredFile.objects.filter(pk=file.pk).update(created_at=timezone.now() - timedelta(**ago))
    return file


def kept() -> KeptBytes:
    return KeptBytes.objects.get(owner_key=OWNER)


def limits(stored: int) -> OwnerLimits:
    return OwnerLimits(quotas=quotas_in_force({STORED: stored}, {}))


def test_what_was_summed_up_is_not_summed_up_again_unless_somebody_would_be_refused() -> None:
    old = make_file(100, days=1)
    make_file(20, seconds=1)
    assert (stored_bytes_within(OWNER, PLENTY), kept().bytes) == (120, 100)
    make_file(3)
    old.delete()
    assert stored_bytes_within(OWNER, 123) == 123  # as before the deletion: there is room nevertheless
    assert (stored_bytes_within(OWNER, 22), kept().bytes) == (23, 100)
    assert (stored_bytes_within(OWNER, 122), kept().bytes) == (23, 0)
    assert stored_bytes(OWNER) == 23
    assert stored_bytes_within("nobody", 0) == 0


def test_the_sum_takes_in_what_has_become_old() -> None:
    stored_bytes_within(OWNER, PLENTY)
    make_file(100, minutes=10), make_file(20, minutes=5), make_file(3)
    KeptBytes.objects.update(until=timezone.now() - timedelta(hours=1))
    for _ in range(2):
        assert stored_bytes_within(OWNER, PLENTY) == 123
        assert kept().bytes == 120
    assert timezone.now() - kept().until < timedelta(seconds=kept_bytes.MARGIN + kept_bytes.STEP)


@pytest.mark.parametrize("moved", [{"summed_at": -2 * kept_bytes.AGAIN}, {"until": kept_bytes.MARGIN}])
def test_a_sum_that_is_old_or_of_a_clock_that_was_set_back_is_made_anew(moved: dict[str, float]) -> None:
    stored_bytes_within(OWNER, PLENTY)
    make_file(100, days=1)  # which it has missed
    assert stored_bytes_within(OWNER, PLENTY) == 0
    KeptBytes.objects.update(**{name: timezone.now() + timedelta(seconds=by) for name, by in moved.items()})
    assert stored_bytes_within(OWNER, PLENTY) == kept().bytes == 100


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writing transaction at a time")
def test_a_file_whose_transaction_is_still_open_when_all_are_summed_up_is_counted_afterwards() -> None:
    made, may_commit = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            make_file(100)
            made.set()
            may_commit.wait(20)

    def sum_up() -> list[int]:
        made.wait(20)
        before = stored_bytes_within(OWNER, PLENTY)
        may_commit.set()
        return [before]

    results = at_once([hold, sum_up])
    assert results == [None, [0]]
    assert stored_bytes_within(OWNER, PLENTY) == 100


def test_at_no_moment_more_is_kept_than_the_quota_while_jobs_end_and_pictures_are_deleted(
    submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_bytes, "MARGIN", 1)
    monkeypatch.setattr(kept_bytes, "STEP", 0)
    most, deadline = 10, time.monotonic() + 5
    seen: list[int] = []

    def until_the_end(call: Callable[[], Any]) -> Callable[[], int]:
        def repeat() -> int:
            count = 0
            while time.monotonic() < deadline:
                count += bool(call())
                time.sleep(0.005)
            return count

        return repeat

    def ask() -> bool:
        try:
            return bool(submit("picture", {"data": "x" * SIZE}, limits=limits(most * RESERVED)))
        except DarkroomError:
            return False

    def watch() -> None:
        seen.append(kept_and_reserved())

    loop = WorkerLoop()
    asked = at_once([*[until_the_end(ask)] * 3, until_the_end(loop.run_once), until_the_end(delete_one), until_the_end(watch)])
    assert all(isinstance(result, int) for result in asked), asked
    run_all(loop)
    accepted = sum(asked[:3])
    assert Job.objects.count() == accepted > most  # what was deleted made room
    assert max(seen) <= most * RESERVED
    assert max(seen) > (most - 2) * RESERVED  # and it was about this limit
    while ask():
        run_all(loop)
    left = most * RESERVED - stored_bytes(OWNER)
    assert 0 <= left < RESERVED


def delete_one() -> None:
    time.sleep(0.05)
    if file := StoredFile.objects.order_by("?").first():
        file.delete()


def kept_and_reserved() -> int:
    """In one statement, which sees a job or its file."""
    [(size,)] = run(
        """SELECT COALESCE((SELECT SUM(4 * expected_pixels) FROM jobs_job WHERE status IN ('queued', 'running')), 0)
            + COALESCE((SELECT SUM(size) FROM files_storedfile), 0)"""
    )
    return int(size)
