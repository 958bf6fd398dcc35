"""UUIDv7 (RFC 9562, section 5.7): ids that sort by their time of creation, so that newest-first needs no other column."""

import secrets
import time
import uuid
from datetime import datetime


def uuid7() -> uuid.UUID:
    """48 bits of Unix milliseconds, 12 bits of the microsecond's part (section 6.2, method 3), 62 random bits."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)


def first_id_of(moment: datetime, *, seconds: float = 0) -> uuid.UUID:
    """The least UUIDv7 of a moment, so many seconds later: `id >= first_id_of(m)` is `made at m or later`."""
    milliseconds = max(0, int((moment.timestamp() + seconds) * 1000))
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)
