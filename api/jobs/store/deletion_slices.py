"""Deleting many rows while others write: in short transactions, each followed by a pause as long as itself."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from django.db import IntegrityError, transaction

SLICE_SECONDS = 0.05
"""What a transaction is meant to take: as long as a submission waits behind it, where it waits at all (SQLite has one writer)."""
LEAST, FIRST, MOST = 20, 50, 2000
"""What goes with a few rows is looked up by as many queries as what goes with many: smaller slices take longer in all."""
LONGEST_PAUSE = 1.0
Keys = Sequence[Any]
Prepare = Callable[[Keys], Callable[[], object]]
"""Looks up what has to go with some rows, outside of the transaction, and gives what deletes them in it."""


def never() -> bool:
    return False


class Slices:
    """`size` rows at a time, which follows from what the ones before took. Stops between two where `should_stop` says so."""

    def __init__(self, should_stop: Callable[[], bool] = never) -> None:
        self.should_stop = should_stop
        self.size, self.count, self.longest = FIRST, 0, 0.0

    def run(self, find: Callable[[int], Keys], prepare: Prepare) -> None:
        """Until `find` has no more keys for a number of rows, or none of what it has can go now: then it has the same keys again."""
        before: Keys = ()
        while not self.should_stop() and (keys := find(self.size)) and not set(keys) <= set(before):
            self.delete(keys, prepare)
            before = keys

    def delete(self, keys: Keys, prepare: Prepare) -> int:
        """How many could go; one that is referred to since just now stays for the next time."""
        try:
            self.delete_at_once(keys, prepare(keys))
        except IntegrityError:
            return sum(self.delete([key], prepare) for key in keys) if len(keys) > 1 else 0
        return len(keys)

    def delete_at_once(self, keys: Keys, delete: Callable[[], object]) -> None:
        committed: list[float] = []
        with transaction.atomic():
            started = time.monotonic()
            transaction.on_commit(lambda: committed.append(time.monotonic()))  # the first: others remove files
            delete()
        self.adapt(keys, (committed or [time.monotonic()])[0] - started)

    def adapt(self, keys: Keys, took: float) -> None:
        self.count, self.longest = self.count + len(keys), max(self.longest, took)
        self.size = min(MOST, 2 * self.size, max(LEAST, int(len(keys) * SLICE_SECONDS / max(took, 1e-6))))
        time.sleep(min(took, LONGEST_PAUSE))
