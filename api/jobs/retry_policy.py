"""When a job that was interrupted is tried again, and when it is given up.  [no Django]"""

from datetime import datetime, timedelta

from api.errors import DarkroomError
from api.outages import NO_STORAGE

BACKOFF_SECONDS = (0, 2, 10, 30, 60)
"""After which a job is available again, by how often it was tried."""
RETRY_WAIT_SECONDS = 60
"""A row that was tried before lets rows that never were go first, for so long after it became available."""
STORAGE_PATIENCE = timedelta(days=1)
"""While the storage of pictures is away, a job is tried each minute until it is so old. Its attempts alone would be over in a minute."""


def backoff(attempt: int) -> float:
    """Seconds after which a job is available again that was tried for the `attempt`-th time."""
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS)) - 1]


def may_wait_for_storage(error: DarkroomError, created_at: datetime, now: datetime) -> bool:
    """Whether a job that failed with `error` is tried again, since the storage of pictures was away."""
    return error.code == NO_STORAGE.code and now - created_at <= STORAGE_PATIENCE
