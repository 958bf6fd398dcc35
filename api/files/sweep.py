"""Brings files and rows together again after a crash: files that never got a row, uploads that no job uses, halves of files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.files.storage import Storage
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Min
from django.utils import timezone

from api.files import storage
from api.files.durable import PART
from api.files.formats import STORED_SUFFIXES
from api.files.models import StoredFile
from api.files.services import delete_unused_uploads

# Only what storage.py names like this, in folders that it names like this, is ever touched.
FOLDERS = [re.compile(digits) for digits in ("[0-9]{4}", "[0-9]{2}", "[0-9]{2}")]
SUFFIXES = "|".join(map(re.escape, STORED_SUFFIXES))
FILE = re.compile(rf"[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}(_t)?({SUFFIXES})(\.part)?")
NAME = re.compile(rf"({'|'.join(storage.PURPOSES)})/[0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}}/{FILE.pattern}")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BATCH = 500


@dataclass
class SweepReport:
    """How many were removed, but for `foreign`."""

    files: int = 0
    parts: int = 0
    uploads: int = 0
    foreign: int = 0
    """Left: without a row, and older than the database."""

    def count(self, name: str) -> None:
        if name.endswith(PART):
            self.parts += 1
        else:
            self.files += 1


def sweep_orphans(older_than: timedelta = HOUR, uploads_older_than: timedelta = DAY, *, days: int | None = None) -> SweepReport:
    """Safe beside running work: a file younger than `older_than` may still be about to get its row. One older than the database is
    another database's: of the one before, or where DATABASE_URL names a wrong one.

    All of the media folder takes about a minute for a million pictures; with `days` only the last so many days' folders are
    looked through, where nearly all that a crash leaves behind is.
    """
    report = SweepReport()
    unused_since = timezone.now() - uploads_older_than
    while deleted := delete_unused_uploads(StoredFile.objects.all(), unused_since=unused_since):
        report.uploads += deleted
    for place in storage.places():
        sweep_place(place, older_than, days, report)
    return report


def sweep_place(place: Storage, older_than: timedelta, days: int | None, report: SweepReport) -> None:
    began = database_began()
    with storage.storage_errors():
        for names in names_of_ours(place, days):
            for name in without_row(set(names)):
                if is_older(place, name, began):
                    report.foreign += 1
                elif is_older(place, name, timezone.now() - older_than):
                    place.delete(name)
                    report.count(name)


def database_began() -> datetime:
    """When its first migration was applied; a backup has that, too."""
    return MigrationRecorder.Migration.objects.aggregate(first=Min("applied"))["first"] or timezone.now()


def missing_files() -> Iterator[StoredFile]:
    """Rows whose file is gone. They are told (by doctor), not deleted: the disk may just not be mounted."""
    for file in StoredFile.objects.order_by("pk").iterator(BATCH):
        if not storage.file_exists(file.name):
            yield file


def names_of_ours(place: Storage, days: int | None) -> Iterator[list[str]]:
    """Names that we may have given, some hundred at a time."""
    first_day = "" if days is None else f"{datetime.now(UTC) - timedelta(days=days):%Y/%m/%d}"
    for purpose in storage.PURPOSES:
        if pages_after := getattr(place, "pages_after", None):  # a bucket has no folders to walk through
            pages = pages_after(purpose, first_day and f"{purpose}/{first_day}")
            yield from ([name for name in page if NAME.fullmatch(name)] for page in pages)
        else:
            yield from names_in_folders(place, purpose, first_day)


def names_in_folders(place: Storage, purpose: str, first_day: str) -> Iterator[list[str]]:
    for folder in folders_of_days(place, purpose):
        if folder.removeprefix(f"{purpose}/") < first_day:
            continue
        names = [f"{folder}/{name}" for name in sorted(list_folder(place, folder)[1]) if FILE.fullmatch(name)]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH]


def folders_of_days(place: Storage, purpose: str) -> Iterator[str]:
    found = [purpose]
    for pattern in FOLDERS:
        found = [
            f"{folder}/{name}" for folder in found for name in sorted(list_folder(place, folder)[0]) if pattern.fullmatch(name)
        ]
    yield from found


def list_folder(place: Storage, folder: str) -> tuple[list[str], list[str]]:
    """The names of the folders and the files in it; none where it is not there."""
    try:
        return place.listdir(folder)
    except FileNotFoundError:
        return [], []


def is_older(place: Storage, name: str, moment: datetime) -> bool:
    try:
        return place.get_modified_time(name) < moment
    except FileNotFoundError:  # deleted while we look
        return False


def without_row(names: set[str]) -> set[str]:
    files = StoredFile.objects.filter(name__in=names).values_list("name", flat=True)
    thumbnails = StoredFile.objects.filter(thumbnail_name__in=names).values_list("thumbnail_name", flat=True)
    return names - set(files) - set(thumbnails)
