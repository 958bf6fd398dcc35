"""Whether the files of a model that is in memory have changed since it was loaded.  [no torch; no Django]"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from api.catalog import ModelEntry

FileStates = dict[str, tuple[int, int]]
"""By path: size, and time of the last change."""
READ_BY_LOADERS = (".safetensors", ".json", ".onnx", ".gguf")


def owned_places(entry: ModelEntry, folder: Path, *bases: Path) -> list[Path]:
    """Where a model's files lie, but for a snapshot of the hub: that stays as it was fetched."""
    parts = [Path(name) for name in (entry.vae, *entry.text_encoders) if name]
    return [*([folder] if entry.path is not None else []), *bases, *parts]


def read_states(places: Iterable[Path]) -> FileStates:
    """Of files, and of what a load reads in folders."""
    return {str(file): state for place in places for file in _files_of(place) if (state := _state(file)) is not None}


def have_changed(states: FileStates) -> bool:
    """What is not there is no change: the model in memory is the last copy of a file on a disk that is away."""
    return any(now is not None and now != then for path, then in states.items() for now in [_state(path)])


def _files_of(place: Path) -> list[Path]:
    return [place] if place.is_file() else [file for file in place.rglob("*") if file.suffix in READ_BY_LOADERS]


def _state(file: Path | str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
