"""Brings files and rows together again after a crash: files that never got a row, uploads that no job uses, halves of files."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from api.files import storage
from api.files.models import StoredFile
from api.files.services import delete_unused_uploads

# Only what storage.py names like this, in folders that it names like this, is ever touched.
FOLDERS = "[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]"
FILE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(_t)?\.(png|jpg|webp)(\.part)?")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BATCH = 500


@dataclass
class SweepReport:
    """How many were removed."""

    files: int = 0
    parts: int = 0
    uploads: int = 0


def sweep_orphans(older_than: timedelta = HOUR, uploads_older_than: timedelta = DAY, *, days: int | None = None) -> SweepReport:
    """Safe beside running work: a file younger than `older_than` may still be about to get its row.

    All of the media folder takes about a minute for a million pictures; with `days` only the last so many days' folders are
    looked through, where nearly all that a crash leaves behind is.
    """
    report = SweepReport()
    unused_since = timezone.now() - uploads_older_than
    while deleted := delete_unused_uploads(StoredFile.objects.all(), unused_since=unused_since):
        report.uploads += deleted
    for names in old_names(time.time() - older_than.total_seconds(), days):
        parts = [name for name in names if name.endswith(".part")]
        orphans = without_row(set(names) - set(parts))
        for name in [*parts, *orphans]:
            storage.remove_file(name)
        report.parts += len(parts)
        report.files += len(orphans)
    return report


def missing_files() -> Iterator[StoredFile]:
    """Rows whose file is gone. They are told (by doctor), not deleted: the disk may just not be mounted."""
    for file in StoredFile.objects.order_by("pk").iterator(BATCH):
        if not storage.media_path(file.name).exists():
            yield file


def old_names(before: float, days: int | None) -> Iterator[list[str]]:
    """Names below MEDIA_ROOT of files last changed before then, some hundred at a time."""
    root = Path(settings.MEDIA_ROOT)
    first_day = "" if days is None else f"{datetime.now(UTC) - timedelta(days=days):%Y/%m/%d}"
    for purpose in storage.PURPOSES:
        for folder in sorted(root.glob(f"{purpose}/{FOLDERS}")):
            if folder.relative_to(root / purpose).as_posix() < first_day:
                continue
            names = [f"{folder.relative_to(root).as_posix()}/{name}" for name in old_entries(folder, before)]
            for start in range(0, len(names), BATCH):
                yield names[start : start + BATCH]


def old_entries(folder: Path, before: float) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if FILE.fullmatch(entry.name) and is_older(entry, before))


def is_older(entry: "os.DirEntry[str]", before: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime < before
    except FileNotFoundError:  # deleted while we look
        return False


def without_row(names: set[str]) -> set[str]:
    files = StoredFile.objects.filter(name__in=names).values_list("name", flat=True)
    thumbnails = StoredFile.objects.filter(thumbnail_name__in=names).values_list("thumbnail_name", flat=True)
    return names - set(files) - set(thumbnails)
