"""The folders of `manage.py export_onnx`, by model, revision and variant. No torch, no Django."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from api.catalog import ModelEntry
from api.downloads.manifests import read_manifest

FOLDER = "exported"


def export_folder(models_dir: Path, entry: ModelEntry) -> Path | None:
    """The folder for exports of the weights that are here now; None where there are none. `entry` may be a variant itself."""
    plain = entry.id.partition("@")[0]
    name = plain.replace("/", "--")
    revision = _revision_of_folder(entry.path) if entry.path else entry.revision
    if revision is None and (manifest := read_manifest(models_dir / ".manifests" / f"{name}.json")):
        revision = manifest.commit
    return models_dir / FOLDER / name / revision if revision else None


def report_file(folder: Path, variant: str) -> Path:
    """Written last: how the export compares with its original."""
    return folder / "onnx" / f"{variant}.json"


def is_exported(models_dir: Path, entry: ModelEntry, variant: str) -> bool:
    folder = export_folder(models_dir, entry)
    return folder is not None and report_file(folder, variant).is_file()


def _revision_of_folder(path: Path) -> str | None:
    """A local checkpoint has no commit: its files' names, sizes and times stand for one."""
    files = sorted(path.glob("*.safetensors"))
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16] if seen else None
