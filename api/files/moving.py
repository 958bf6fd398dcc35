"""Moves every file of the rows from the storage of MEDIA_STORAGE_BEFORE to that of MEDIA_STORAGE, while the server serves both.

Nothing is written to the old storage any more, and whoever reads looks in both: a move can be stopped at any point and begun again.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

from django.conf import settings
from django.core.files.storage import Storage, default_storage, storages

from api.errors import DarkroomError
from api.files import storage
from api.files.models import StoredFile
from api.files.sweep import without_row

BATCH, THREADS = 64, 8
MARK = "move_media.json"
"""In DATA_DIR: the last row of a move that was stopped."""


@dataclass
class MoveReport:
    """Files, pictures and thumbnails alike."""

    rows: int = 0
    moved: int = 0
    there: int = 0
    removed: int = 0
    bytes: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def add(self, other: "MoveReport") -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.damaged


@dataclass(frozen=True)
class Move:
    """Of one file; `sha256` is what its row says, where it says it."""

    name: str
    sha256: str
    remove_source: bool

    def run(self) -> MoveReport:
        """For any thread. Raises OSError and DiskFull."""
        with storage.storage_errors():
            return self.move(storages["before"], default_storage)

    def move(self, source: Storage, target: Storage) -> MoveReport:
        report = MoveReport()
        before, after = digest(source, self.name), digest(target, self.name)
        wanted = self.sha256 or before or after
        if wanted is None or (before is None and after is None):
            return MoveReport(missing=[self.name])
        if after == wanted:
            report.there = 1
        elif before == wanted:
            report.moved, report.bytes = 1, copy(source, target, self.name, wanted)
        else:
            return MoveReport(damaged=[self.name])
        if self.remove_source and before == wanted:
            source.delete(self.name)
            report.removed = 1
        return report


def digest(place: Storage, name: str) -> str | None:
    """None where the file is not there. Read to its end: what a storage says of a file is not what it holds."""
    try:
        with place.open(name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def copy(source: Storage, target: Storage, name: str, sha256: str, *, to: str = "") -> int:
    """Under the same name, or as `to`, read back and compared. Raises OSError where it arrives as another."""
    to = to or name
    target.delete(to)  # a damaged one: FileSystemStorage would write beside it
    with source.open(name, "rb") as file:
        kept, size = target.save(to, file), file.size
    if kept == to and digest(target, to) == sha256:
        return size
    target.delete(kept)
    raise OSError(f"{name} did not arrive as it was sent.")


def move_all(*, remove_source: bool) -> Iterator[MoveReport]:
    """What was done so far, after each batch. Raises OSError and DiskFull; the next call goes on before the batch that failed."""
    ensure_two_places()
    report, mark = MoveReport(), Mark(remove_source)
    with ThreadPoolExecutor(THREADS) as pool:
        for rows in batches(mark.read()):
            storage.ensure_free_space()
            moves = [Move(name, sha256, remove_source) for row in rows for name, sha256 in files_of(row)]
            done = MoveReport(rows=len(rows))
            for one in pool.map(Move.run, moves):
                done.add(one)
            forget_deleted({move.name for move in moves}, done)
            report.add(done)
            if report.is_whole:
                mark.write(str(rows[-1].pk))
            yield report
    if report.is_whole:
        mark.remove()


def ensure_two_places() -> None:
    """Two addresses may lead to one place, where the old file is the new one, too. Raises DarkroomError."""
    name = storage.write_trial()
    try:
        with storage.storage_errors():
            is_one = storages["before"].exists(name)
    finally:
        storage.remove_quietly(name)
    if is_one:
        raise DarkroomError(
            "same_storage", 409, "MEDIA_STORAGE_BEFORE and MEDIA_STORAGE are one and the same place: nothing was moved."
        )


def forget_deleted(names: set[str], done: MoveReport) -> None:
    """Of pictures that were deleted meanwhile: their files may have been copied just after that."""
    gone = without_row(names)
    for name in gone:
        storage.remove_file(name)
    done.missing = [name for name in done.missing if name not in gone]
    done.damaged = [name for name in done.damaged if name not in gone]


def batches(after: str) -> Iterator[list[StoredFile]]:
    """By their ids, which grow with time: what is made meanwhile comes last."""
    while True:
        rows = StoredFile.objects.order_by("pk").only("pk", "name", "thumbnail_name", "sha256")
        found = list((rows.filter(pk__gt=after) if after else rows)[:BATCH])
        if not found:
            return
        yield found
        after = str(found[-1].pk)


def files_of(row: StoredFile) -> Iterator[tuple[str, str]]:
    yield row.name, row.sha256
    if row.thumbnail_name:
        yield row.thumbnail_name, ""


class Mark:
    """Where a move stopped: of this direction, with or without removal."""

    def __init__(self, remove_source: bool) -> None:
        self.path = settings.DATA_DIR / MARK
        self.move = {
            "from": storage.describe_storage("before"),
            "to": storage.describe_storage(),
            "remove_source": remove_source,
        }

    def read(self) -> str:
        try:
            kept = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return ""
        after = str(kept.pop("after", ""))
        return after if kept == self.move else ""

    def write(self, after: str) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({**self.move, "after": after}))
        part.replace(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
