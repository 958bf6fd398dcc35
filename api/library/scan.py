"""Brings the rows up to date with the folders: lists all files, reads the headers of those that are new or changed, marks what is gone.

What is unchanged by path, size and time is not opened. Rows are written in batches, each in a transaction of its own, so that the queue
never waits long for the database, and a scan that is killed keeps what it has done.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from filelock import FileLock

from api.library.identification import describe_file
from api.library.layouts import find_layout
from api.library.models import LibraryFile
from api.library.slugs import make_slug
from api.library.walk import FoundFile, Walk
from config.catalog import get_tables

log = logging.getLogger("darkroom.library")
BATCH = 200
LOCK_SECONDS = 600
MISSING_DAYS = 30
"""How long a file that is gone keeps its row, its id and its hashes."""
KEPT = frozenset({"id", "entry_id", "path_key", "found_at"})
"""Fields that a changed file keeps."""
HASHES = frozenset({"sha256", "content_sha256", "short_hash"})
UNFIT = (DataError, IntegrityError, ValueError)
"""What one row can raise that others don't: a value that the database doesn't take."""
T = TypeVar("T")


@dataclass
class ScanReport:
    found: int = 0
    added: int = 0
    changed: int = 0
    missing: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.found} files, {self.added} new, {self.changed} changed, {self.missing} gone"
        return f"{counts}, in {self.seconds:.1f} s"


class KnownFile(NamedTuple):
    pk: int
    entry_id: str
    size: int
    mtime_ns: int
    stamp: str
    root: str
    is_missing: bool


def scan_library() -> ScanReport:
    """Of all LIBRARY_DIRS. One process at a time; the next one waits."""
    started = time.monotonic()
    with FileLock(settings.DATA_DIR / "library-scan.lock", timeout=LOCK_SECONDS):
        report = ScanReport()
        update_rows(list_files(report), report)
    report.seconds = time.monotonic() - started
    return report


def list_files(report: ScanReport) -> Iterator[FoundFile]:
    """Each once: a file below two folders belongs to the first."""
    folders: list[Path] = []
    for root in settings.LIBRARY_DIRS:
        if not root.is_dir():
            report.problems.append(f"The folder {root} of LIBRARY_DIRS is not there.")
            continue
        layout = find_layout(root)
        folders += layout.folders
        report.problems += layout.problems
    walk = Walk(list(dict.fromkeys(folders)), follow_links=settings.LIBRARY_FOLLOW_LINKS)
    yield from walk
    report.problems += walk.problems


def update_rows(files: Iterable[FoundFile], report: ScanReport) -> None:
    known = read_known()
    taken = {row.entry_id for row in known.values()} | reserved_ids()
    unread: list[FoundFile] = []
    returned: list[int] = []
    seen: set[str] = set()
    for found in files:
        seen.add(found.path)
        row = known.get(found.path)
        if row is None or is_changed(row, found):
            unread.append(found)
        elif row.is_missing:
            returned.append(row.pk)
    report.found = len(seen)
    mark(returned, missing_since=None)
    for batch in batches(sorted(unread, key=lambda found: found.path)):
        write_batch(batch, known, taken, report)
    report.added = sum(found.path not in known for found in unread)
    report.changed = len(unread) - report.added
    gone = [row.pk for path, row in known.items() if path not in seen and not row.is_missing]
    mark(gone, missing_since=Now())
    report.missing = len(gone)
    forgotten = timezone.now() - timedelta(days=MISSING_DAYS)
    LibraryFile.objects.filter(missing_since__lt=forgotten).delete()


def read_known() -> dict[str, KnownFile]:
    """By path."""
    columns = ("path", "pk", "entry_id", "size", "mtime_ns", "stamp", "root", "missing_since")
    rows = LibraryFile.objects.order_by().values_list(*columns).iterator(chunk_size=2000)
    return {
        path: KnownFile(pk, entry_id, size, mtime_ns, stamp, root, is_missing=missing is not None)
        for path, pk, entry_id, size, mtime_ns, stamp, root, missing in rows
    }


def reserved_ids() -> set[str]:
    """Of the catalog's tables, which come first: a file must not be hidden by one."""
    tables = get_tables()
    return {*tables.models, *tables.adapters, *tables.embeddings}


def is_changed(row: KnownFile, found: FoundFile) -> bool:
    return (row.size, row.mtime_ns, row.stamp, row.root) != (found.size, found.mtime_ns, found.stamp, found.root)


def write_batch(batch: list[FoundFile], known: dict[str, KnownFile], taken: set[str], report: ScanReport) -> None:
    same_content: list[LibraryFile] = []  # only what lies beside them has changed: their hashes hold
    others: list[LibraryFile] = []
    for found in batch:
        before = known.get(found.path)
        row = LibraryFile(**describe_file(found), missing_since=None)
        row.entry_id = before.entry_id if before else make_slug(row.stem, found.path, taken)
        taken.add(row.entry_id)
        is_same = before is not None and (before.size, before.mtime_ns) == (found.size, found.mtime_ns)
        (same_content if is_same else others).append(row)
    try:
        with transaction.atomic():
            save(others)
            save(same_content, besides=HASHES)
    except UNFIT:
        for row in (*others, *same_content):
            save_alone(row, report)


def save_alone(row: LibraryFile, report: ScanReport) -> None:
    """One of a batch in which there is one that the database refuses."""
    try:
        with transaction.atomic():
            save([row])
    except UNFIT:
        log.exception("The row of %r can't be written", row.path)
        report.problems.append(f"{row.path} can't be listed; the log has more.")


def save(rows: list[LibraryFile], besides: frozenset[str] = frozenset()) -> None:
    names = [one.name for one in LibraryFile._meta.concrete_fields if one.name not in KEPT | besides]
    LibraryFile.objects.bulk_create(rows, update_conflicts=True, unique_fields=["path_key"], update_fields=names)


def mark(pks: list[int], **values: Any) -> None:
    for batch in batches(pks):
        LibraryFile.objects.filter(pk__in=batch).update(**values)


def batches(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
