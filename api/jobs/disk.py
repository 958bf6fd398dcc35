"""Room for new work. Asked once, where a job is submitted (services.py) or a picture is uploaded: no kind of job can forget it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.db import connection

from api.errors import DarkroomError
from api.outages import DISK_FULL, outage_of

PLENTY, MOMENT = 2**30, 0.1  # bytes above the floor: more than a disk takes in so many seconds
_watched: list[Callable[[], int | None]] = []
_plenty_until: dict[int, float] = {}  # by the floor


class DiskFull(DarkroomError):
    def __init__(self) -> None:
        super().__init__(DISK_FULL.code, DISK_FULL.status, DISK_FULL.detail)


def unexpected_error(error: Exception) -> DarkroomError:
    """What the owner of a job is told of an error that no handler knows: what is away or full, or no more than that it failed."""
    if outage := outage_of(error):
        return DarkroomError(outage.code, outage.status, outage.detail)
    return DarkroomError("internal_error", 500, "The job failed; the log has the reason under its id.")


def ensure_free_space() -> None:
    """Raises DiskFull (507) below MIN_FREE_DISK_BYTES: new work is refused while there is still room to finish the old.

    Free space of PLENTY above that is remembered for a MOMENT; with less, it is measured each time.
    """
    floor, now = settings.MIN_FREE_DISK_BYTES, monotonic()
    if _plenty_until.get(floor, 0.0) >= now:
        return
    free = free_space()
    if free is not None and free < floor:
        raise DiskFull
    if free is None or free >= floor + PLENTY:
        _plenty_until[floor] = now + MOMENT


def watch_free_space(free: Callable[[], int | None]) -> None:
    """`free` counts the bytes that are left somewhere else that work needs; None where there is no end to them."""
    _watched.append(free)


def free_space() -> int | None:
    """Bytes free where there are least: with SQLite's file, and wherever else is watched. None where no disk here fills."""
    free = [found for count in _watched if (found := count()) is not None]
    if connection.vendor == "sqlite":
        free.append(disk_usage(os.path.dirname(connection.settings_dict["NAME"])).free)
    return min(free, default=None)


def disk_usage(folder: str | os.PathLike[str]) -> "shutil._ntuple_diskusage":
    """Of the disk that the folder is on, or will be on once it is made."""
    try:
        return shutil.disk_usage(folder)
    except FileNotFoundError:
        return shutil.disk_usage(next(place for place in Path(folder).parents if place.exists()))
