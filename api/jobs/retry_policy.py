"""When a job that was interrupted is tried again, and when it is given up."""

from datetime import datetime, timedelta

from api.errors import DarkroomError
from api.outages import NO_STORAGE

BACKOFF_SECONDS = (0, 2, 10, 30, 60)
"""After which a job is available again, by how often it was tried."""
RETRY_WAIT_SECONDS = 60
"""A row that was tried before lets rows that never were go first, for so long after it became available."""
STORAGE_PATIENCE = timedelta(days=1)
"""While the storage of pictures is away, a job is tried again until it is so old. No attempt is counted: the job isn't the cause."""
LONGEST_STORAGE_DELAY, OUTAGE_GAP_SECONDS = 60.0, 600.0
"""Failures that lie further apart than the gap are of two outages: long enough for a job that takes minutes to come there again."""


def backoff(attempt: int) -> float:
    """Seconds after which a job is available again that was tried for the `attempt`-th time."""
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1]


def may_wait_for_storage(error: DarkroomError, created_at: datetime, now: datetime) -> bool:
    """Whether a job that failed with `error` is tried again, since the storage of pictures was away."""
    return error.code == NO_STORAGE.code and now - created_at <= STORAGE_PATIENCE


class StorageOutage:
    """How long the storage of pictures has been away by now, as this process has seen it."""

    def __init__(self) -> None:
        self._seen: tuple[float, float] = (0.0, float("-inf"))
        """The first failure and the last."""

    def delay(self, now: float) -> float:
        """Seconds after which a job that failed for it at `now` (of a monotonic clock) is tried again: as long as it has been away."""
        first, last = self._seen
        first = first if now - last <= OUTAGE_GAP_SECONDS else now
        self._seen = (first, now)
        return min(now - first, LONGEST_STORAGE_DELAY)
