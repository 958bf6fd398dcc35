"""What a process keeps of a small table for two seconds, so that many requests are one query."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
MOST_AGE = 2.0
"""Seconds after which another process's change counts here."""


class ShortCache(Generic[T]):
    """`read` asks the database; for any thread."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read, self._lock = read, threading.Lock()
        self._value: T | None = None
        self._read_at = float("-inf")

    def get(self) -> T:
        with self._lock:
            if self._value is None or time.monotonic() - self._read_at > MOST_AGE:
                self._value, self._read_at = self._read(), time.monotonic()
            return self._value

    def forget(self, **kwargs: object) -> None:
        """For Django's signals: a change that was made in this process counts at once."""
        with self._lock:
            self._value = None
