"""What owners have used, and whether a quota leaves room for more.

There is no counter that a submission or an end writes. A job under way is its own reservation (`Job.expected_…`); the row of the outbox
that its end writes has what it made; rows that are counted are in `DailyUse`, to which the transaction that marks them adds. So each job is
in one of the three at every moment, and one statement that reads all three sees it once. A job that fails or is cancelled, is tried again
or is deleted needs nothing done.

Submissions of an owner with quotas go one after the other from here to their commit. Those of others do nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from api.errors import DarkroomError
from api.jobs.models import DailyUse, Job, JobEnding
from api.jobs.states import Status
from api.jobs.store.admission import LOCK
from api.jobs.store.quota_periods import day_of, days, free_at
from api.jobs.store.statements import is_postgres, run
from api.metric_definitions import quota_refusals
from api.quotas import BYTES_PER_PIXEL, MEASURES, NAMES, STORED, Amount, Quota

DAILY, ENDING, JOB = DailyUse._meta.db_table, JobEnding._meta.db_table, Job._meta.db_table
SUMMED = [name for name in NAMES if name != STORED]


class Use(NamedTuple):
    """Of one quota."""

    used: int
    reserved: int
    """By jobs under way."""


Exactly = Callable[[str], int]
Within = Callable[[str, int], int]
_stored_bytes: list[tuple[Exactly, Within]] = []


def register_stored_bytes(exactly: Exactly, within: Within) -> None:
    """What an owner's files take, which files/ knows; `within`: no less than that, and exactly where it is more than the second."""
    _stored_bytes[:] = [(exactly, within)]


# ---------------------------------------------------------------- reading


def totals_sql(is_one: str) -> str:
    """Of each owner one row for what is used and one for what is reserved: the owner, 1 where reserved, then each measure of the day, and
    each of the month.

    What is under way will be made today or later; its jobs count on the day on which they were submitted, as all jobs do.
    """
    of = ", ".join(
        f"CAST(SUM(CASE WHEN {'job_day' if measure == 'jobs' else 'day'} >= {begin} THEN {measure} ELSE 0 END) AS BIGINT)"
        for begin in ("today", "month")
        for measure in MEASURES
    )
    return f"""WITH clock (today, month) AS MATERIALIZED ({days()}),
        parts (owner_key, waits, job_day, day, jobs, pictures, pixels, bytes) AS (
            SELECT owner_key, 0, day, day, jobs, pictures, pixels, bytes
                FROM {DAILY} WHERE owner_key {is_one} AND day >= (SELECT month FROM clock)
            UNION ALL SELECT owner_key, 0, {day_of("COALESCE(submitted_at, created_at)")}, {day_of("created_at")},
                CASE WHEN status = 'succeeded' THEN 1 ELSE 0 END, pictures, pixels, bytes
                FROM {ENDING} WHERE owner_key {is_one} AND NOT counted
            UNION ALL SELECT owner_key, 1, {day_of("created_at")}, (SELECT today FROM clock), expected_jobs, expected_pictures,
                expected_pixels, {BYTES_PER_PIXEL} * expected_pixels
                FROM {JOB} WHERE owner_key {is_one} AND status IN ('queued', 'running'))
        SELECT owner_key, waits, {of} FROM parts, clock GROUP BY owner_key, waits"""  # noqa: S608  (all of it is ours)


def read_totals(owners: Sequence[str]) -> dict[str, dict[str, Use]]:
    """Of each owner, by the name of every quota but STORED. All at once: one statement sees each job in one place."""
    is_one, params = (
        ("= ANY(%s)", [list(owners)]) if is_postgres() else (f"IN ({', '.join(['%s'] * len(owners))})", list(owners))
    )
    rows = {(owner, waits): sums for owner, waits, *sums in run(totals_sql(is_one), params * 3)}
    none = [0] * len(SUMMED)
    return {
        owner: {
            name: Use(*both) for name, *both in zip(SUMMED, rows.get((owner, 0), none), rows.get((owner, 1), none), strict=True)
        }
        for owner in owners
    }


def stored_bytes(owner_key: str) -> int:
    return sum(exactly(owner_key) for exactly, _ in _stored_bytes)


def read_use(owner_key: str, quotas: Iterable[Quota], asked: Amount) -> dict[str, Use]:
    """By quota's name, whether there is room for `asked` or not."""
    totals = read_totals([owner_key])[owner_key]
    for quota in quotas:
        if quota.name == STORED:  # after the totals: a job that ends in between is in both, and not in neither
            reserved = totals["bytes_per_day"].reserved
            room = quota.limit - quota.asked_of(asked) - reserved
            totals[STORED] = Use(sum(within(owner_key, room) for _, within in _stored_bytes), reserved)
    return totals


# ---------------------------------------------------------------- room for more


def lock_owner(owner_key: str) -> None:
    """Until the transaction ends, which others of the same owner wait for. SQLite's transactions hold the whole database."""
    if is_postgres():
        run("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK, owner_key])


def ensure_within(owner_key: str, quotas: tuple[Quota, ...], asked: Amount) -> None:
    """Raises DarkroomError (429) where `asked` is more than a quota leaves. To be sure of it, after `lock_owner`."""
    concerned = [quota for quota in quotas if quota.asked_of(asked)]
    if not concerned:
        return
    use = read_use(owner_key, concerned, asked)
    exceeded = [quota for quota in concerned if sum(use[quota.name]) + quota.asked_of(asked) > quota.limit]
    if exceeded:
        worst = max(
            exceeded,
            key=lambda quota: (quota.asked_of(asked) > quota.limit, free_at(quota) or datetime.max.replace(tzinfo=UTC)),
        )
        quota_refusals.add(worst.name)
        raise refusal(worst, use[worst.name], worst.asked_of(asked))


def refusal(quota: Quota, use: Use, asked: int) -> DarkroomError:
    """The sentences are known to api/studio/sentences.py."""
    moment = free_at(quota)
    if asked > quota.limit:
        detail = (
            f"This asks for {asked:,}, and the limit {quota.name} of your key is {quota.limit:,}: it never fits. Ask for less."
        )
        return DarkroomError("quota_exceeded", 429, detail)
    so_far = (
        f"The limit {quota.name} of your key is {quota.limit:,}, of which {use.used:,} are used and {use.reserved:,}"
        f" reserved by jobs under way; this asks for {asked:,}"
    )
    if moment is None:
        return DarkroomError("quota_exceeded", 429, so_far + " more. Delete some pictures or uploads.")
    seconds = max(1, round((moment - datetime.now(UTC)).total_seconds()))
    detail = f"{so_far} more. It begins anew at {moment:%Y-%m-%dT%H:%M:%SZ}."
    return DarkroomError("quota_exceeded", 429, detail, headers={"Retry-After": str(seconds)})


# ---------------------------------------------------------------- counting


def count_use(endings: Iterable[JobEnding]) -> None:
    """Adds rows of the outbox to the days of their owners, in the transaction that marks them as counted."""
    growth: dict[tuple[str, date], Amount] = defaultdict(Amount)
    for ending in endings:
        if ending.status == Status.SUCCEEDED:
            submitted, ended = ending.submitted_at or ending.created_at, ending.created_at
            for moment, amount in (
                (submitted, Amount(jobs=1)),
                (ended, Amount(0, ending.pictures, ending.pixels, ending.bytes)),
            ):
                key = ending.owner_key, moment.astimezone(UTC).date()
                growth[key] = growth[key].plus(amount)
    for (owner_key, day), amount in sorted(
        growth.items()
    ):  # in one order everywhere: two transactions never wait for each other
        run(add_sql(), [owner_key, day if is_postgres() else day.isoformat(), *amount])


def add_sql() -> str:
    grown = ", ".join(f"{measure} = {DAILY}.{measure} + excluded.{measure}" for measure in MEASURES)
    return f"""INSERT INTO {DAILY} (owner_key, day, jobs, pictures, pixels, bytes) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (owner_key, day) DO UPDATE SET {grown} RETURNING 1"""  # noqa: S608


def expected_of(job: Job) -> Amount:
    return Amount(job.expected_jobs, job.expected_pictures, job.expected_pixels, BYTES_PER_PIXEL * job.expected_pixels)


def expected_columns(amount: Amount) -> dict[str, Any]:
    return {"expected_jobs": amount.jobs, "expected_pictures": amount.pictures, "expected_pixels": amount.pixels}
