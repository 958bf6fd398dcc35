"""Folders of the owner's own (`path` in the catalog): whether a checkpoint lies there, and why not. No torch, no Django."""

from __future__ import annotations

from pathlib import Path

from api.catalog import ModelEntry
from api.downloads.snapshots import PICKLES, is_lfs_pointer
from api.errors import DarkroomError

MARKS = ("model_index.json", "config.json", "model.safetensors")


def find_folder(entry: ModelEntry) -> Path | None:
    """The entry's folder where it holds a checkpoint; None where it doesn't."""
    place = entry.path
    return place if place and any((place / mark).is_file() for mark in MARKS) else None


def missing_checkpoint(entry: ModelEntry, place: Path) -> DarkroomError:
    """Why `find_folder` found none."""
    if not place.exists():
        return DarkroomError("not_found", 502, f"The folder of {entry.name} is not there: see its `path` in the catalog.")
    if entry.task != "text-to-image":
        detail = f"{entry.name} can't be loaded: its folder has neither a config.json nor a model.safetensors."
        return DarkroomError("unsupported_checkpoint", 422, detail)
    files = [place] if place.is_file() else sorted(file for file in place.iterdir() if file.is_file())
    whole = next((file for file in files if file.suffix == ".safetensors"), None)
    pickled = next((file for file in files if PICKLES.search(file.name)), None)
    if whole is not None and is_lfs_pointer(whole):
        detail = f"{whole.name} of {entry.name} is a Git LFS pointer, not the weights themselves: `git lfs pull` fetches them."
        return DarkroomError("damaged", 422, detail)
    if whole is not None:
        return _unsupported(
            entry, f"{whole.name} is a single-file checkpoint", "StableDiffusionPipeline.from_single_file(file)"
        )
    if pickled is not None:
        reason = f"{pickled.name} holds pickled weights, which can run code, and only safetensors are read"
        return _unsupported(entry, reason, "where you trust it, StableDiffusionPipeline.from_single_file(file)")
    return _unsupported(entry, "its folder has neither a model_index.json nor a config.json", "pipeline")


def _unsupported(entry: ModelEntry, reason: str, source: str) -> DarkroomError:
    cure = f"this version takes a folder in diffusers' form, which {source}.save_pretrained(folder) writes"
    return DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be loaded: {reason}; {cure}.")
