"""The manifest of a fetched model: its commit, and the size and hash of every file. No torch, no Django."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

logger = logging.getLogger("darkroom.models")


@dataclass
class RequiredFile:
    """A file as the manifest requires it."""

    size: int
    sha256: str | None = None
    """Known from the hub for large files; for small ones (in git itself) `blob` is, and the sha256 is recorded when it came."""
    blob: str | None = None
    checked: int | None = None
    """Modification time (ns) of the file on disk when its hash was last found right."""

    def matches(self, path: Path) -> bool:
        """True if the file on disk has this size and hash."""
        if size_of(path) != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of(path) == self.sha256
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == self.blob

    def mark_checked(self, path: Path) -> None:
        """Record that the file is valid, with its modification time."""
        self.sha256, self.checked = self.sha256 or sha256_of(path), path.stat().st_mtime_ns


@dataclass
class Manifest:
    repo: str
    commit: str
    pinned: str
    """"catalog", or "first_use": the commit that the hub gave at the first download, and that is required from then on."""
    selection: list[str | None]
    """What was asked for (variant and patterns): another wish makes a new list of files, at the same commit."""
    files: dict[str, RequiredFile] = field(default_factory=dict)
    complete: bool = False

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        part.replace(file)

    def invalid_files(self, folder: Path) -> list[str]:
        """Names of the files that are missing or damaged below `folder`; what was found right is remembered.

        A file is hashed when its size or time is not the one of its last check, so a model is not read twice at every load.
        """
        return [name for name, file in self.files.items() if not self._is_valid(folder / name, file)]

    def _is_valid(self, path: Path, file: RequiredFile) -> bool:
        if size_of(path) == file.size and path.stat().st_mtime_ns == file.checked:
            return True
        if file.sha256 is None or not file.matches(path):
            return False
        file.mark_checked(path)
        return True

    def delete_unlisted_files(self, folder: Path) -> None:
        """Delete files that the manifest does not list: those of an earlier commit could be loaded by mistake."""
        for file in list(folder.rglob("*")):
            if file.is_file() and file.relative_to(folder).as_posix() not in self.files:
                file.unlink()


def read_manifest(file: Path) -> Manifest | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        files = {name: RequiredFile(**required) for name, required in values.pop("files").items()}
        return Manifest(**values, files=files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning("the manifest %s is unreadable and is made anew", file.name)
        return None


def size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
