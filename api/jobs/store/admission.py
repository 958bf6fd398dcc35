"""Whether there is room for one more job: of an owner, and in the queue.

Counting is part of the inserting statement, and takes as long as there are rows to count. So a count that found plenty of room is
remembered for a moment; close to a limit every insertion counts, and at last one after the other.
"""

import time
from typing import Any

from django.conf import settings

from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.store import transitions
from api.jobs.store.fair_order import SlotTerms
from api.jobs.store.statements import is_postgres, run

Limit = tuple[str, tuple[Any, ...], int]  # a condition with its parameters, and how many jobs may fit it
AT_ONCE = 64  # more than can be inserting at once without having seen each other
PLENTY, MOMENT = 512, 0.1  # more jobs than all processes together can submit within so many seconds
KEPT = 1000
LOCK = 0x6461726B  # our namespace among PostgreSQL's advisory locks

_plenty_until: dict[Limit, float] = {}


def limits_of(job: Job, max_active: int | None, children: int = 0) -> tuple[Limit, Limit]:
    """`children`: for so many jobs beside it there must be room, too."""
    most = min(max_active or settings.MAX_ACTIVE_JOBS_PER_KEY, settings.MAX_ACTIVE_JOBS_PER_KEY)
    mine: Limit = ("owner_key = %s AND status IN ('queued', 'running')", (job.owner_key,), most - children)
    return mine, ("status = 'queued'", (), settings.MAX_QUEUED_JOBS - children)


def add_if_room(job: Job, events: list[transitions.Event], limits: tuple[Limit, Limit], slot: SlotTerms) -> Job | None:
    """The row; None where a limit is close, and `ensure_room` must decide."""
    now = time.monotonic()
    unsure = [limit for limit in limits if _plenty_until.get(limit, 0.0) < now]
    row = transitions.add_job(job, events, **slot, unless=transitions.count_reaches(*unsure, less=PLENTY))
    if row is None:
        return transitions.add_job(job, events, **slot, unless=transitions.count_reaches(*limits, less=AT_ONCE))
    if len(_plenty_until) > KEPT:
        _plenty_until.clear()
    _plenty_until.update(dict.fromkeys(unsure, now + MOMENT))
    return row


def ensure_room(job: Job, limits: tuple[Limit, Limit], children: int = 0) -> None:
    """In the transaction that goes on to insert. Raises DarkroomError (429, 503) where a limit is reached."""
    mine, everybodys = limits
    if is_full(mine, job.owner_key):
        detail = f"You have {mine[2]} jobs queued or running, which is your limit; wait for some to end."
        if children:
            most = mine[2] + children
            detail = f"This is {children + 1} jobs, and {most} queued or running is your limit; ask for less, or wait for some to end."
        raise DarkroomError("too_many_jobs", 429, detail, headers={"Retry-After": "5"})
    if is_full(everybodys, ""):
        raise DarkroomError("queue_full", 503, "The queue is full; try again later.", headers={"Retry-After": "15"})


def is_full(limit: Limit, name: str) -> bool:
    """Exactly: close to the limit, those who submit under `name` go one after the other."""
    if not transitions.holds(*transitions.count_reaches(limit, less=AT_ONCE)):
        return False
    if is_postgres():
        run("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK, name])
    return transitions.holds(*transitions.count_reaches(limit))
