"""The default storage of media: a folder whose files are whole or absent, and on the disk when `save` returns."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.files import File
from django.core.files.storage import FileSystemStorage

PART = ".part"
"""What the name of a file ends in while it is written."""


class UnsyncedFolders(threading.local):
    """Folders whose new names this thread syncs at the end of `syncing_folders_once`; None outside of it."""

    folders: set[Path] | None = None


_unsynced = UnsyncedFolders()


class DurableFileSystemStorage(FileSystemStorage):
    """Django's FileSystemStorage below MEDIA_ROOT; files and new folders are synced to the disk."""

    @contextmanager
    def syncing_folders_once(self) -> Iterator[None]:
        """Files that are saved within are durable at its end, and not before: each of them is synced, their folder once for all."""
        _unsynced.folders = set()
        try:
            yield
            for folder in _unsynced.folders:
                sync_folder(folder)
        finally:
            _unsynced.folders = None

    def _save(self, name: str, content: File) -> str:
        """`.part` → fsync → rename → fsync of the folder. Leaves nothing behind where it fails."""
        path = Path(self.path(name))
        part = path.with_name(path.name + PART)
        make_folder(path.parent)
        try:
            write_durably(part, content)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if _unsynced.folders is None:
            sync_folder(path.parent)
        else:
            _unsynced.folders.add(path.parent)
        return name


def write_durably(path: Path, content: File) -> None:
    with open(path, "wb") as file:
        for chunk in content.chunks():
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """The folder and its parents, each name durable in the one above it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
