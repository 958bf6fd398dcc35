"""A backup: the database first, then the files that its rows name. Files are written before their rows, so that each is there."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from django.db import connection

from api.system.backup import postgres, sqlite
from api.system.backup.errors import BackupError, errors_as_sentences
from api.system.backup.manifests import (
    DATABASES,
    FILES,
    Manifest,
    application_version,
    applied_migrations,
    complete,
    file_sha256,
    new_folder,
    sync_file,
    whole_backups,
)
from api.system.backup.media import ROWS, MediaReport, copy_media, write_lines
from api.system.backup.progress import Tell
from api.system.backup.pruning import Pruned, prune
from api.system.diagnosis import bytes_text

AGAIN = "Run the command again: what was copied is not copied twice."


def make_backup(target: Path, tell: Tell, keep: int = 0) -> tuple[Path, MediaReport, Pruned | None]:
    """Its folder; then only the newest `keep` backups stay, where that isn't 0.

    Raises BackupError, and KeyboardInterrupt where it is stopped: then no backup was made, and the next goes on from it.
    """
    with errors_as_sentences(target, AGAIN):
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock(target):
            folder, report = write_backup(target, tell)
            return folder, report, prune(target, keep) if keep else None


def write_backup(target: Path, tell: Tell) -> tuple[Path, MediaReport]:
    created_at, earlier = datetime.now(UTC), whole_backups(target)
    folder = new_folder(target)
    name = DATABASES[connection.vendor]
    migrations = applied_migrations()
    pictures = dump_database(folder, tell)
    report = MediaReport()
    for report in copy_media(folder, target, earlier[-1] if earlier else None):
        tell(describe(report, pictures))
    Manifest(
        created_at=created_at.isoformat(),
        version=application_version(),
        database=connection.vendor,
        migrations=migrations,
        sha256={name: file_sha256(folder / name), FILES: file_sha256(folder / FILES)},
        pictures=pictures,
        bytes=report.bytes,
        missing=report.missing,
    ).write(folder)
    return complete(folder), report


def dump_database(folder: Path, tell: Tell) -> int:
    """And the list of its files. How many pictures it has."""
    dump = postgres.dump if connection.vendor == "postgresql" else sqlite.dump
    path = folder / DATABASES[connection.vendor]
    count = write_lines(folder / ROWS, dump(path, tell))
    sync_file(path)
    return count


def describe(report: MediaReport, pictures: int) -> str:
    kept = report.files - report.copied
    return f"{report.rows} of {pictures} pictures: {report.copied} files copied ({bytes_text(report.copied_bytes)}), {kept} there already"


@contextmanager
def lock(target: Path) -> Iterator[None]:
    """One backup at a time in a target."""
    with open(target / "backup.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup is being written to {target}. Wait for it, or name another folder.") from None
        yield
