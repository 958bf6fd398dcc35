"""The order of the queue: start-time fair queueing across owners.

Each job has a slot in virtual time, from `virtual_start` to `virtual_finish`, which is as long as the job costs. An owner's slots
follow each other; an owner who comes anew begins at the present of virtual time, which is the slot of what runs. Slots are taken in
the order of their starts. So 1,000 queued jobs of one owner delay another's first job by what runs, and by no more.

A slot belongs to an owner, and not to a row: when its turn comes, it goes to the owner's row of the highest priority, the oldest of
those. Rows whose slots are out of order exchange them then (`Turn` and `transitions.exchange_slots`). The age of a row is the slot that it
was given first (`owner_order`), and not its id: clients that submit at once may insert rows in another order than that of their ids.

An owner whose key has the scope `priority` goes first with jobs of a priority above 0: their slots are before 0.

There is no state beside the rows. Virtual time begins at 0 again where nothing is queued or runs.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from api.jobs.models import Job
from api.jobs.store.statements import is_postgres

JOB = Job._meta.db_table
SLOT_COLUMNS = ("virtual_start", "virtual_finish", "owner_order")


class SlotTerms(TypedDict):
    """What a row's slot depends on beside its owner: its length, and whether it is before those of other owners."""

    cost: float
    goes_first: bool


def index_hint(index: str) -> str:
    """SQLite, left alone, reads the whole queue by status and sorts it; PostgreSQL finds the index by itself."""
    return f"INDEXED BY {index}" if not is_postgres() else ""


def locking(clause: str) -> str:
    """SQLite's transactions begin IMMEDIATE: they hold the whole database."""
    return clause if is_postgres() else ""


def least(*values: str) -> str:
    return f"{'LEAST' if is_postgres() else 'MIN'}({', '.join(values)})"


def greatest(*values: str) -> str:
    return f"{'GREATEST' if is_postgres() else 'MAX'}({', '.join(values)})"


def earliest_start(only: str = "TRUE") -> str:
    """The start of the first slot of the rows that were never tried; NULL where there is none."""
    return f"""(SELECT virtual_start FROM {JOB} {index_hint("job_queue")}
        WHERE status = 'queued' AND attempt = 0 AND virtual_start >= 0 AND {only} ORDER BY virtual_start, id LIMIT 1)"""


AHEAD = 1e9
"""Virtual time never reaches it. The slot of an owner who goes first begins so much before the present for each point of priority, which
is before 0, where no other slot is; slots there are not the present, whoever runs in them.
"""


def new_slot(job: Job, *, cost: float, goes_first: bool) -> tuple[str, list[Any]]:
    """`WITH … slot (virtual_start, virtual_finish)` for a row that is about to be inserted, and its parameters.

    The present is the start of what runs, of the same kind where there is such (two workers may be at different places of the
    queue), else of the next in the queue. A row that was tried before runs out of order and says nothing of it. An owner of whom nothing
    is under way may have had a slot at present: the next one begins after it, so that jobs sent one by one get no more than a share.
    With `goes_first` the slot is before those of all owners who don't, by priority and then in turn.
    """
    finish = f"""COALESCE(
            (SELECT virtual_finish FROM {JOB} {index_hint("job_active_owner")}
                WHERE owner_key = %s AND status IN ('queued', 'running') ORDER BY virtual_finish DESC LIMIT 1),
            (SELECT {least("virtual_finish", "time + cost")} FROM {JOB} {index_hint("job_owner")}
                WHERE owner_key = %s ORDER BY id DESC LIMIT 1), 0.0)"""
    sql = f"""WITH present AS MATERIALIZED (SELECT COALESCE(
            (SELECT virtual_start FROM {JOB} WHERE status = 'running' AND attempt = 1 AND virtual_start >= 0
                ORDER BY CASE WHEN kind = %s THEN 0 ELSE 1 END, virtual_start DESC LIMIT 1),
            {earliest_start()}, 0.0) AS time, CAST(%s AS DOUBLE PRECISION) AS cost),
        slot AS MATERIALIZED (SELECT {"time - %s" if goes_first else greatest("time", finish)} AS virtual_start, cost FROM present)"""
    return sql, [job.kind, cost, *([AHEAD * job.priority] if goes_first else [job.owner_key, job.owner_key])]


class Turn:
    """Whose turn it is among the queued rows that fit `only`: the first slot is that of `head`, and `best` is the row of the same
    owner that goes first.
    """

    def __init__(self, only: str, params: Sequence[Any]) -> None:
        columns, lock = "id, owner_key, virtual_start, virtual_finish", locking("FOR UPDATE SKIP LOCKED")
        self.params = [*params, *params]
        self.sql = f"""WITH head AS MATERIALIZED (
                SELECT {columns} FROM {JOB} {index_hint("job_queue")} WHERE status = 'queued' AND {only}
                ORDER BY virtual_start, id LIMIT 1 {lock}),
            best AS MATERIALIZED (
                SELECT {columns} FROM {JOB} {index_hint("job_owner_queue")}
                WHERE status = 'queued' AND owner_key = (SELECT owner_key FROM head) AND {only}
                ORDER BY priority DESC, owner_order, id LIMIT 1 {lock})"""

    @property
    def picked(self) -> str:
        """The row that the slot belongs to; none where another of its owner's must have the slot first."""
        return f"{self.sql} SELECT head.id FROM head, best WHERE head.id = best.id"

    @property
    def both(self) -> str:
        return f"""{self.sql} SELECT head.id, head.virtual_start, head.virtual_finish,
            best.id, best.virtual_start, best.virtual_finish FROM head, best"""
