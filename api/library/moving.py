"""Moves a file of the library to another of its folders, with its sidecars, preview and VAE. The row keeps its id and hashes."""

import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from api.library.models import ENDING, LibraryFile, path_key
from api.library.walk import PREVIEWS, SIDECARS


class NotMoved(Exception):
    """The message is a sentence."""


def move_file(row: LibraryFile, folder: Path) -> Path:
    """Where it is now. What lies beside it goes first: were that to fail, the weights are still in their place. Raises NotMoved."""
    source = Path(row.path)
    root = next((root for root in settings.LIBRARY_DIRS if folder.resolve().is_relative_to(root.resolve())), None)
    if root is None:
        raise NotMoved(f"{folder} is in none of LIBRARY_DIRS.")
    if not source.exists():
        raise NotMoved(f"{source} is not there any more.")
    if not os.access(source.parent, os.W_OK):  # else copies would be left where it was to go
        raise NotMoved(f"{source.parent} can't be written to, so that nothing can be moved out of it.")
    files = [*companions(source), source] if not row.is_folder else [source]
    if taken := next((file.name for file in files if (folder / file.name).exists()), None):
        raise NotMoved(f"{folder} has a {taken} already.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.move(file, folder / file.name)
    except OSError as error:
        raise NotMoved(f"{error.filename or folder}: {error.strerror}.") from None
    path = str(folder / source.name)
    status = os.stat(path)  # on another disk the time may have lost its last digits
    values: dict[str, Any] = {"path": path, "path_key": path_key(path), "root": str(root), "missing_since": None}
    if not row.is_folder:
        values["mtime_ns"] = status.st_mtime_ns
    LibraryFile.objects.filter(path_key=values["path_key"]).delete()  # of a file that was there once
    LibraryFile.objects.filter(pk=row.pk).update(**values)
    return folder / source.name


def companions(file: Path) -> list[Path]:
    stem = file.with_suffix("").name
    names = [stem + ending for ending in (*SIDECARS, ENDING, *PREVIEWS, ".vae.safetensors")]
    return [beside for name in names if (beside := file.with_name(name)).is_file()]
