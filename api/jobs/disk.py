"""Room for new work. Asked once, where a job is submitted (services.py) or a picture is uploaded: no kind of job can forget it."""

import shutil
from pathlib import Path

from django.conf import settings
from django.db import connection

from api.errors import DarkroomError
from api.problems import DISK_FULL


class DiskFull(DarkroomError):
    def __init__(self) -> None:
        super().__init__(*DISK_FULL)


def ensure_free_space() -> None:
    """Raises DiskFull (507) below MIN_FREE_DISK_BYTES: new work is refused while there is still room to finish the old."""
    if free_space() < settings.MIN_FREE_DISK_BYTES:
        raise DiskFull


def free_space() -> int:
    """Bytes free where the pictures go; where SQLite's file is, if it has less."""
    folders = [Path(settings.MEDIA_ROOT)]
    if connection.vendor == "sqlite":
        folders.append(Path(connection.settings_dict["NAME"]).parent)
    return min(map(free_below, folders))


def free_below(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
