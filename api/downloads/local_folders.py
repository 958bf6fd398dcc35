"""Local models (`path` in the catalog): find the checkpoint, or say why there is none. No torch, no Django."""

from __future__ import annotations

from pathlib import Path

from api.catalog import IP_ADAPTER, ModelEntry
from api.downloads.permitted_files import PICKLES
from api.errors import DarkroomError
from api.model_files.header import is_lfs_pointer

CHECKPOINT_FILES = ("model_index.json", "config.json", "model.safetensors")
ONNX_FILES = "*.onnx"
DETECTION = "object-detection"
CONVERTIBLE = ("hazard-cells", "image-aesthetics", "aesthetic-head")
"""Tasks whose published pickles `manage.py convert_weights` reads."""


def find_folder(entry: ModelEntry) -> Path | None:
    """The entry's folder where it holds a checkpoint, or its single file; None where there is none."""
    folder = entry.path
    if folder is None:
        return None
    if entry.single_file:
        return folder if folder.is_file() else None
    has_checkpoint = any((folder / file_name).is_file() for file_name in CHECKPOINT_FILES)
    files = "*.safetensors" if entry.task == IP_ADAPTER else ONNX_FILES  # which are published under many names
    return folder if has_checkpoint or any(folder.glob(files)) else None


def missing_checkpoint(entry: ModelEntry, folder: Path) -> DarkroomError:
    """Why `find_folder` found none."""
    if entry.single_file or not folder.exists():
        kind = "file" if entry.single_file else "folder"
        return DarkroomError("not_found", 502, f"The {kind} of {entry.name} is not there: see its `path` in the catalog.")
    if entry.task == DETECTION and (pickled := find_pickled(folder)):
        return _not_exported(entry, pickled)
    if entry.task in CONVERTIBLE and (pickled := find_pickled(folder)):
        return _not_converted(entry, pickled)
    if entry.task != "text-to-image":
        missing = "its folder has neither a config.json nor a model.safetensors nor a .onnx file"
        reason = (
            f"its `path` in the catalog is the file {folder.name}; name the folder that has it" if folder.is_file() else missing
        )
        return DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be loaded: {reason}.")
    single_file = next((file for file in files_of(folder) if file.suffix == ".safetensors"), None)
    pickled = find_pickled(folder)
    if single_file is not None and is_lfs_pointer(single_file):
        detail = (
            f"{single_file.name} of {entry.name} is a Git LFS pointer, not the weights themselves: `git lfs pull` fetches them."
        )
        return DarkroomError("damaged", 422, detail)
    if single_file is not None:
        return _unsupported(entry, f"{single_file.name} is a single-file checkpoint; name the file itself as its `path`")
    if pickled is not None:
        remedy = f"`manage.py convert_weights {pickled.name}` makes safetensors of a checkpoint, without running any"
        return _unsupported(entry, f"{pickled.name} holds pickled weights, which can run code; {remedy}")
    remedy = "a folder in diffusers' form has both, and pipeline.save_pretrained(folder) writes it"
    return _unsupported(entry, f"its folder has neither a model_index.json nor a config.json; {remedy}")


def files_of(folder: Path) -> list[Path]:
    return [folder] if folder.is_file() else sorted(file for file in folder.iterdir() if file.is_file())


def find_pickled(folder: Path) -> Path | None:
    return next((file for file in files_of(folder) if PICKLES.search(file.name)), None)


def _not_exported(entry: ModelEntry, file: Path) -> DarkroomError:
    detail = (
        f"{entry.name} can't be loaded: {file.name} is a pickle, which can run code. Export it where you trust it, with the tool "
        f"that made it (Ultralytics: `yolo export model={file.name} format=onnx`), and put the .onnx file into its folder."
    )
    return DarkroomError("unsafe_files", 422, detail)


def _not_converted(entry: ModelEntry, file: Path) -> DarkroomError:
    detail = (
        f"{entry.name} can't be loaded: {file.name} is a pickle, which can run code. `manage.py convert_weights {file.name}` makes "
        "safetensors of it, without running any."
    )
    return DarkroomError("unsafe_files", 422, detail)


def _unsupported(entry: ModelEntry, reason: str) -> DarkroomError:
    return DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be loaded: {reason}.")
