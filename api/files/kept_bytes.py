"""What an owner's files take, for the quota of it, without adding all of them up for each submission.

A row's size never changes, and its time is the database's. So a sum of the rows that were made before a moment (`KeptBytes`) and the rows
since then are together never less than what is kept: more, where some of the older ones were deleted. Where there is room by that, there is
room, and deletions need not be counted; before anybody is refused, all rows are added up. Nothing is written by what makes or deletes a
file, and by a submission only now and then: the sum takes in what was made since, or is made anew.

The moment is MARGIN seconds ago, since a row is seen by others only when its transaction is committed. PostgreSQL ends one that hangs
(config/databases.py); SQLite has one at a time. Should a row be missed nevertheless, since the clock was set back, that is mended when all
is added up again.
"""

from functools import cache

from django.db.models import Sum

from api.files.models import KeptBytes, StoredFile
from api.jobs.store.statements import run
from api.jobs.store.transitions import clock

FILE, KEPT = StoredFile._meta.db_table, KeptBytes._meta.db_table
MARGIN, STEP, AGAIN = 120, 60, 3600
"""Seconds: what is left out of the sum, how much of that has come together when it takes it in, and when it is made anew."""


def stored_bytes(owner_key: str) -> int:
    """What an owner's pictures and uploads take: the sum of an index."""
    return StoredFile.objects.filter(owner_key=owner_key).aggregate(sum=Sum("size"))["sum"] or 0


def stored_bytes_within(owner_key: str, room: int) -> int:
    """At least what they take if that is within `room`, exactly that where it is more. In the transaction that needs the room."""
    for most, is_in_doubt, is_long in run(bound_sql(), [owner_key]):
        if most <= room and not is_in_doubt:
            if is_long:
                run(step_sql(), [owner_key])
            return int(most)
    [(exactly, *known)] = run(sum_sql(), [owner_key])
    if exactly <= room:  # else the transaction is undone
        run(keep_sql(), [owner_key, *known])
    return int(exactly)


@cache
def bound_sql() -> str:
    """With whether the sum is to be made anew (it is old, or the clock has been set back), and whether to take in what came since."""
    return f"""SELECT kept.bytes + {sum_of("owner_key = kept.owner_key AND created_at >= kept.until")},
            kept.until > {clock(-MARGIN)} OR kept.summed_at < {clock(-AGAIN)}, kept.until < {clock(-MARGIN - STEP)}
        FROM {KEPT} AS kept WHERE kept.owner_key = %s"""  # noqa: S608  (names of ours)


@cache
def step_sql() -> str:
    since = f"owner_key = {KEPT}.owner_key AND created_at >= {KEPT}.until AND created_at < {clock(-MARGIN)}"
    return f"""UPDATE {KEPT} SET bytes = bytes + {sum_of(since)}, until = {clock(-MARGIN)}
        WHERE owner_key = %s AND until < {clock(-MARGIN)} RETURNING 1"""  # noqa: S608  (names of ours)


@cache
def sum_sql() -> str:
    """All, and what `keep_sql` takes."""
    old = total("CASE WHEN created_at < until THEN size END")
    return f"""WITH clock (until, now) AS MATERIALIZED (SELECT {clock(-MARGIN)}, {clock()})
        SELECT {total("size")}, {old}, MAX(until), MAX(now) FROM clock LEFT JOIN {FILE} ON owner_key = %s"""  # noqa: S608


@cache
def keep_sql() -> str:
    return f"""INSERT INTO {KEPT} (owner_key, bytes, until, summed_at) VALUES (%s, %s, %s, %s)
        ON CONFLICT (owner_key) DO UPDATE SET bytes = excluded.bytes, until = excluded.until, summed_at = excluded.summed_at
        RETURNING 1"""  # noqa: S608  (names of ours)


def sum_of(condition: str) -> str:
    return f"(SELECT {total('size')} FROM {FILE} WHERE {condition})"  # noqa: S608  (names of ours)


def total(value: str) -> str:
    return f"CAST(COALESCE(SUM({value}), 0) AS BIGINT)"
