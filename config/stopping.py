"""A web process that was asked to stop: first /api/ready/ says so, and later those that still wait in it are answered as things stand.

config/web_worker.py says when. Until the process ends it goes on answering: nobody who was let in is cut off.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

RETRY_SECONDS = 1
"""What clients are told to wait: by then another process answers."""


class Stopping:
    """Of this process. `waits_are_over`: what is left to wait for is another process's part."""

    def __init__(self) -> None:
        self.has_begun = self.waits_are_over = False
        self._waiters: set[Callable[[], object]] = set()

    def begin(self) -> None:
        self.has_begun = True

    def end_waits(self) -> None:
        self.waits_are_over = True
        for wake in list(self._waiters):
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Within it `wake` is called when the waits are over; at once, where they are. Of one waiter, and of no other."""
        self._waiters.add(wake)
        if self.waits_are_over:
            wake()
        try:
            yield
        finally:
            self._waiters.discard(wake)


stopping = Stopping()
