"""What a backup says of itself, and which backups a target folder has."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from api.files.durable import PART, sync_folder
from api.system.backup.errors import BackupError

MANIFEST, FILES = "manifest.json", "files.jsonl.gz"
DATABASES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    created_at: str
    version: str
    database: str
    """Of which kind: sqlite or postgresql."""
    migrations: dict[str, list[str]]
    """The names of those that were applied, by app."""
    sha256: dict[str, str]
    """Of the files beside this one."""
    pictures: int
    bytes: int
    """Of the pictures' files, each counted as often as rows name it."""
    missing: list[str] = field(default_factory=list)
    """Names of files that rows have and the storage did not, all of them."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        try:
            return cls(**json.loads((folder / MANIFEST).read_text()))
        except FileNotFoundError:
            raise BackupError(f"{folder} is no whole backup: it has no {MANIFEST}. Name another one.") from None
        except (ValueError, TypeError):
            raise BackupError(f"{folder / MANIFEST} can't be read: it was cut or changed. Name another backup.") from None

    def write(self, folder: Path) -> None:
        write_durable_text(folder / MANIFEST, json.dumps(asdict(self), indent=1))


def application_version() -> str:
    return str(settings.SPECTACULAR_SETTINGS["VERSION"])


def known_migrations() -> dict[str, list[str]]:
    """Of this version of Darkroom, whatever the database has."""
    return by_app(MigrationLoader(connection).disk_migrations)


def applied_migrations() -> dict[str, list[str]]:
    return by_app(MigrationLoader(connection).applied_migrations)


def by_app(keys: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for app, name in sorted(keys):
        found.setdefault(app, []).append(name)
    return found


# ---------------------------------------------------------------- folders


def new_folder(target: Path) -> Path:
    """Of a backup that begins now; it has its name when `complete` gives it that. Those of earlier, stopped ones go."""
    for part in target.glob(f"????????T??????Z{PART}"):
        for file in part.iterdir():
            file.unlink()
        part.rmdir()
    folder = target / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}{PART}"
    if folder.with_suffix("").exists():
        raise BackupError(f"{folder.with_suffix('')} was made in this very second. Run the command again.")
    folder.mkdir(mode=0o700)
    return folder


def complete(folder: Path) -> Path:
    """All that is in it is on the disk."""
    sync_folder(folder)
    whole = folder.with_suffix("")
    folder.rename(whole)
    sync_folder(whole.parent)
    return whole


def whole_backups(target: Path) -> list[Path]:
    """The oldest first."""
    return sorted(folder for folder in target.glob("????????T??????Z") if (folder / MANIFEST).is_file())


def find_backup(source: Path) -> Path:
    """`source` itself, or the newest backup in it."""
    if (source / MANIFEST).exists():
        return source.resolve()
    found = whole_backups(source)
    if not found:
        halves = " There are only parts of one that was stopped." if any(source.glob(f"*{PART}")) else ""
        raise BackupError(f"{source} has no whole backup.{halves} Name the TARGET of `manage.py backup`, or one folder in it.")
    return found[-1].resolve()


def verify(folder: Path, manifest: Manifest) -> None:
    """That the database and the list of files are what the manifest says. Raises BackupError."""
    for name, sha256 in manifest.sha256.items():
        if not (folder / name).is_file():
            raise BackupError(f"{folder / name} is missing. Nothing was changed; name another backup.")
        if file_sha256(folder / name) != sha256:
            raise BackupError(f"{folder / name} is not what was written: it was cut or changed. Nothing was changed here.")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durable_text(path: Path, text: str) -> None:
    part = path.with_suffix(PART)
    part.write_text(text)
    sync_file(part)
    part.replace(path)
    sync_folder(path.parent)
