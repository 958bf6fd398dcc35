"""The files of a backup: each content once, under its hash; and a list of which row's file has which content."""

import gzip
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from django.core.files.storage import Storage

from api.files import storage
from api.files.durable import DurableFileSystemStorage
from api.files.moving import copy, digest
from api.files.sweep import without_row
from api.system.backup.manifests import FILES, sync_file

MEDIA, ROWS = "media", "rows.jsonl.gz"
BATCH, THREADS = 256, 8
CONTENT_LOCKS = [threading.Lock() for _ in range(256)]
"""By the hash's first byte: two files of one content are written once."""
Item = TypeVar("Item")


class Kept(NamedTuple):
    """A row's file, and its content; '' where there was none."""

    name: str
    sha256: str
    size: int


@dataclass
class MediaReport:
    rows: int = 0
    files: int = 0
    copied: int = 0
    copied_bytes: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Not what their row says; they are kept as they are."""


def open_media(target: Path) -> DurableFileSystemStorage:
    return DurableFileSystemStorage(location=target / MEDIA, file_permissions_mode=0o600)


def content_name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def batches(items: Iterable[Item], length: int = BATCH) -> Iterator[list[Item]]:
    source = iter(items)
    while found := list(islice(source, length)):
        yield found


# ---------------------------------------------------------------- lists


def write_lines(path: Path, lines: Iterable[object]) -> int:
    count = 0
    with gzip.open(path, "wt", compresslevel=3) as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
            count += 1
    sync_file(path)
    return count


def read_lines(path: Path) -> Iterator[list[object]]:
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line)


def read_kept(folder: Path) -> Iterator[tuple[str, list[Kept]]]:
    """Of each row, by its id."""
    for row, kept in read_lines(folder / FILES):
        yield str(row), [Kept(*one) for one in kept]  # type: ignore[attr-defined]


class Earlier:
    """What an earlier backup of the same target says of a row's files: both lists are in the order of ids."""

    def __init__(self, folder: Path | None) -> None:
        self.rows = read_kept(folder) if folder else iter(())
        self.row, self.kept = next(self.rows, ("~", []))

    def of(self, row: str) -> dict[str, str]:
        while self.row < row:
            self.row, self.kept = next(self.rows, ("~", []))
        return {one.name: one.sha256 for one in self.kept} if self.row == row else {}


# ---------------------------------------------------------------- from the storage to the backup


def copy_media(folder: Path, target: Path, earlier: Path | None) -> Iterator[MediaReport]:
    """Copies what `ROWS` in the folder names, and writes the list. What was done so far, after each batch. Raises OSError."""
    report, known, place = MediaReport(), Earlier(earlier), open_media(target)
    with ThreadPoolExecutor(THREADS) as pool, gzip.open(folder / FILES, "wt", compresslevel=3) as listing:
        for rows in batches(read_lines(folder / ROWS)):
            wanted = [(str(row[0]), name, sha256) for row in rows for name, sha256 in names_of(row, known)]
            found = list(pool.map(lambda one: keep(place, one[1], one[2]), wanted))
            note_absent([kept.name for kept, _ in found if not kept.sha256], report)
            kept_of: dict[str, list[Kept]] = {str(row[0]): [] for row in rows}
            for (row, _, sha256), (kept, copied) in zip(wanted, found, strict=True):
                kept_of[row].append(kept)
                count(report, kept, copied, sha256)
            listing.writelines(json.dumps(line) + "\n" for line in kept_of.items())
            report.rows += len(rows)
            yield report
    sync_file(folder / FILES)
    (folder / ROWS).unlink()


def names_of(row: list[object], known: Earlier) -> Iterator[tuple[str, str]]:
    """With the hash, as far as that is known: the row has none of the thumbnail. A name is written once, so an earlier backup knows it."""
    identifier, name, thumbnail, sha256 = (str(value or "") for value in row)
    yield name, sha256
    if thumbnail:
        yield thumbnail, known.of(identifier).get(thumbnail, "")


def keep(place: Storage, name: str, sha256: str) -> tuple[Kept, bool]:
    """In the backup, and whether it was copied. For any thread."""
    if sha256 and place.exists(content_name(sha256)):
        return Kept(name, sha256, place.size(content_name(sha256))), False
    with storage.storage_errors():
        for source in storage.places_to_look():
            if (found := digest(source, name)) is None:
                continue
            try:
                return keep_content(source, place, name, found)
            except FileNotFoundError:  # deleted, or moved, between the two
                continue
    return Kept(name, "", 0), False


def keep_content(source: Storage, place: Storage, name: str, sha256: str) -> tuple[Kept, bool]:
    to = content_name(sha256)
    with CONTENT_LOCKS[int(sha256[:2], 16)]:
        if place.exists(to):
            return Kept(name, sha256, place.size(to)), False
        return Kept(name, sha256, copy(source, place, name, sha256, to=to)), True


def note_absent(names: list[str], report: MediaReport) -> None:
    """Whether a file went with its row, since the database was dumped, or is gone without."""
    deleted = without_row(set(names)) if names else set()
    report.deleted += [name for name in names if name in deleted]
    report.missing += [name for name in names if name not in deleted]


def count(report: MediaReport, kept: Kept, copied: bool, sha256: str) -> None:
    if kept.sha256:
        report.files, report.bytes = report.files + 1, report.bytes + kept.size
        report.copied, report.copied_bytes = report.copied + copied, report.copied_bytes + copied * kept.size
        if sha256 and kept.sha256 != sha256:
            report.damaged.append(kept.name)


# ---------------------------------------------------------------- and back


@dataclass
class RestoreReport:
    rows: int = 0
    copied: int = 0
    there: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    """Contents that the list names and the backup lacks."""
    damaged: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Rows whose own file was not there when the backup was made."""


def put_back(folder: Path) -> Iterator[RestoreReport]:
    """Into the storage that is set, under the names that the rows have. What was done so far, after each batch. Raises OSError."""
    report, place = RestoreReport(), open_media(folder.parent)
    with ThreadPoolExecutor(THREADS) as pool:
        for rows in batches(read_kept(folder)):
            storage.ensure_free_space()
            report.absent += [row for row, kept in rows if not kept[0].sha256]
            files = [kept for _, all in rows for kept in all if kept.sha256]
            for one, what in zip(files, pool.map(lambda kept: put_back_one(place, kept), files), strict=True):
                {"missing": report.missing, "damaged": report.damaged}.get(what, []).append(content_name(one.sha256))
                report.copied, report.there = report.copied + (what == "copied"), report.there + (what == "there")
                report.bytes += one.size if what == "copied" else 0
            report.rows += len(rows)
            yield report


def put_back_one(place: Storage, kept: Kept) -> str:
    """What became of it: there, copied, missing or damaged. For any thread."""
    source = content_name(kept.sha256)
    with storage.storage_errors():
        goal = storage.places()[0]
        if digest(goal, kept.name) == kept.sha256:
            return "there"
        found = digest(place, source)
        if found != kept.sha256:
            return "missing" if found is None else "damaged"
        copy(place, goal, source, kept.sha256, to=kept.name)
        return "copied"
