"""`--keep`: old backups go once a newer one is whole, and then the contents that no backup names. Never what only an old one has."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from api.files.durable import PART
from api.system.backup.errors import BackupError
from api.system.backup.manifests import DATABASES, FILES, Manifest, whole_backups
from api.system.backup.media import MEDIA, read_kept

LEAST_SHARE = 0.5
"""A server that has lost its history goes on making backups: they don't push out one that is more than twice as large."""


@dataclass
class Pruned:
    dropped: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    """Backups that stay though they are old, and why."""
    files: int = 0
    bytes: int = 0


def prune(target: Path, keep: int) -> Pruned:
    """Under the target's lock, so that nothing is being added. Stopped, it is done by the next."""
    report = Pruned()
    backups = whole_backups(target)
    kept = backups[-keep:]
    for folder in backups[:-keep]:
        if why := reason_to_hold(folder, backups[-1]):
            report.held[folder.name] = why
            kept.append(folder)
        else:
            drop(folder)
            report.dropped.append(folder.name)
    for path in without_backup(target, kept):
        report.files, report.bytes = report.files + 1, report.bytes + path.stat().st_size
        path.unlink()
    return report


def reason_to_hold(old: Path, newest: Path) -> str:
    """'' where nothing is lost with it but what was deleted on purpose.

    What the storage has lost since is in the newest, too: contents that the target has are not asked of the storage again.
    """
    try:
        before, now = Manifest.read(old), Manifest.read(newest)
    except BackupError as error:
        return str(error)
    if now.pictures < before.pictures * LEAST_SHARE:
        return f"it has {before.pictures} pictures, the newest {now.pictures}"
    if now.database == before.database and database_bytes(newest, now) < database_bytes(old, before) * LEAST_SHARE:
        return "its database is more than twice as large as the newest's"
    return ""


def database_bytes(folder: Path, manifest: Manifest) -> int:
    return (folder / DATABASES[manifest.database]).stat().st_size


def drop(folder: Path) -> None:
    """As a stopped one first, which the next backup removes."""
    part = folder.rename(folder.with_name(folder.name + PART))
    for file in part.iterdir():
        file.unlink()
    part.rmdir()


def without_backup(target: Path, kept: Iterable[Path]) -> list[Path]:
    named = {content for folder in kept for content in contents_of(folder)}
    return [path for path in (target / MEDIA).glob("[0-9a-f][0-9a-f]/*") if is_unnamed(path.name, named)]


def contents_of(folder: Path) -> set[bytes]:
    try:
        return {bytes.fromhex(one.sha256) for _, files in read_kept(folder) for one in files if one.sha256}
    except (OSError, EOFError, ValueError):
        raise BackupError(
            f"The backup was made. No files were removed, since {folder / FILES} can't be read: delete that folder."
        ) from None


def is_unnamed(name: str, named: set[bytes]) -> bool:
    """Of names that are no hash, those of halves of files alone are ours."""
    if name.endswith(PART):
        return True
    try:
        return len(name) == 64 and bytes.fromhex(name) not in named
    except ValueError:
        return False
