"""A thread of which a process has one at the most: begun when it is first wanted, and anew where it has ended, as after a fork."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T", bound=threading.Thread)


class OnlyThread(Generic[T]):
    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make
        self.starting = threading.Lock()
        self.thread: T | None = None

    def get(self) -> T:
        with self.starting:
            if self.thread is None or not self.thread.is_alive():
                self.thread = self.make()
                self.thread.start()
            return self.thread
