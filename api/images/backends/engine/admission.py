"""Which request gets the next row of the engine, and which rows share its next pass.  [torch]"""

from collections.abc import Sequence

from api.images.backends.engine.passes import fit_tokens, key_of
from api.images.backends.engine.rows import Row
from api.images.backends.engine.tasks import Task


def next_to_start(tasks: Sequence[Task], rows: Sequence[Row]) -> Task | None:
    """Of those with pictures that wait, the one with the fewest rows: one that asks for many pictures leaves room to others."""
    waiting = [task for task in tasks if task.has_waiting]
    return min(waiting, key=lambda task: sum(row.task is task for row in rows), default=None)


def next_pass(rows: Sequence[Row]) -> list[Row]:
    """Those that can share a pass with the row that has waited longest."""
    live = sorted((row for row in rows if row.task.result is None), key=lambda row: row.last_pass)
    return fit_tokens([row for row in live if key_of(row) == key_of(live[0])]) if live else []
