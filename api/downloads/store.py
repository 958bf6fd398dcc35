"""Weights on disk: download from the hub with a pinned commit, verification and resume. No torch, no Django.

A model is a plain folder below `models_dir`, with a manifest beside it (never inside: a snapshot must not be able to write it).
The manifest records the commit and the size and sha256 of every file; from then on exactly those are required. A file is
checked before it is used: its hash the first time, and whenever its size or time has changed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from api.catalog import AdapterEntry, ModelEntry
from api.downloads.hub import HubClient, translate_hub_errors
from api.downloads.local_folders import find_folder, missing_checkpoint
from api.downloads.manifests import Manifest, read_manifest, size_of
from api.downloads.onnx_exports import export_folder, is_exported
from api.downloads.permitted_files import check_names, select_files
from api.downloads.snapshots import inspect_snapshot
from api.errors import DarkroomError

__all__ = ["ModelStore"]

logger = logging.getLogger("darkroom.models")

Entry = ModelEntry | AdapterEntry
Progress = Callable[[int, int], None]
"""Called with the bytes on disk and the total bytes."""

SPARE_DISK = 256 * 1024 * 1024
REPORT_SECONDS = 0.1
VERSION_BYTES, VERSION_DIGITS = 1024 * 1024, 12


class ModelStore:
    """The folder of models. `token` is for gated repositories, `endpoint` another hub; neither appears in an error or a log."""

    def __init__(
        self,
        models_dir: Path,
        token: str | None = None,
        endpoint: str | None = None,
        *,
        timeout: float = 60.0,
        retry_seconds: float = 1.0,
    ) -> None:
        self.models_dir = Path(models_dir)
        self._hub = HubClient(token, endpoint, timeout=timeout, retry_seconds=retry_seconds)

    # -- Models --------------------------------------------------------------------------------------------------------------

    def folder(self, entry: ModelEntry) -> Path | None:
        """The model's folder (or single file) if it is complete and valid, without network access; None otherwise."""
        if "@exported-" in entry.id:
            return export_folder(self.models_dir, entry) if is_exported(self.models_dir, entry, entry.onnx_variant) else None
        return find_folder(entry) if entry.path is not None else self._complete(entry)

    def available(self, entry: ModelEntry) -> bool:
        """True if the model is on disk. Compares sizes only, so that listing models is fast."""
        if "@exported-" in entry.id:
            return self.folder(entry) is not None
        if entry.path is not None:
            return find_folder(entry) is not None
        manifest, model_folder = self._manifest(entry), self._model_folder(entry)
        if manifest is None or not manifest.complete:
            return False
        return all(size_of(model_folder / name) == file.size for name, file in manifest.files.items())

    def fetch(self, entry: ModelEntry, on_progress: Progress | None = None) -> Path:
        """Fetch what is missing or damaged, and return the folder.

        Raises DarkroomError: gated, not_found, offline, bad_answer, damaged, disk_full, not_writable, unsafe_files,
        needs_remote_code, unsupported_checkpoint.
        """
        if "@exported-" in entry.id:
            command = f"python manage.py export_onnx {entry.id.partition('@')[0]}"
            raise DarkroomError("not_found", 502, f"{entry.name} has not been exported: {command}")
        if entry.path is not None:
            if model_folder := find_folder(entry):
                return model_folder
            raise missing_checkpoint(entry, entry.path)
        model_folder = self._fetch(entry, on_progress)
        inspect_snapshot(model_folder, entry.name)
        return model_folder

    def version(self, entry: ModelEntry) -> str:
        """A short id of the weights: the start of the commit, or of a hash of a local folder's files; "" when there are none."""
        if entry.path is None:
            manifest = self._manifest(entry)
            return manifest.commit[:VERSION_DIGITS] if manifest is not None else ""
        digest, files = hashlib.sha256(), [entry.path] if entry.path.is_file() else sorted(entry.path.rglob("*.safetensors"))
        for file in files:
            with file.open("rb") as stream:
                stream.seek(max(0, file.stat().st_size - VERSION_BYTES))  # what was trained anew differs everywhere
                digest.update(stream.read())
        return digest.hexdigest()[:VERSION_DIGITS] if files else ""

    def size_on_disk(self, entry: ModelEntry) -> int:
        """Bytes, with what is half fetched."""
        model_folder = find_folder(entry) if entry.path is not None else self._model_folder(entry)
        if model_folder is None:
            return 0
        files = [model_folder] if model_folder.is_file() else model_folder.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def remove(self, entry: ModelEntry, *, forget: bool = False) -> None:
        """Delete the files of a fetched model. Its commit stays required, unless it is to be forgotten."""
        if entry.path is not None:
            return
        with self._locked(entry):
            shutil.rmtree(self._model_folder(entry), ignore_errors=True)
            if forget:
                self._manifest_file(entry).unlink(missing_ok=True)

    # -- Adapters ------------------------------------------------------------------------------------------------------------

    def adapter_file(self, entry: AdapterEntry) -> Path | None:
        """The adapter's safetensors file when it is here and right; no network."""
        if entry.path is not None:
            return entry.path if entry.path.is_file() else None
        model_folder = self._complete(entry)
        return model_folder / str(entry.filename) if model_folder is not None else None

    def fetch_adapter(self, entry: AdapterEntry, on_progress: Progress | None = None) -> Path:
        """Raises DarkroomError."""
        if entry.path is None:
            return self._fetch(entry, on_progress) / str(entry.filename)
        if not entry.path.is_file():
            raise DarkroomError("not_found", 502, f"The file of the adapter {entry.name} is not there.")
        return entry.path

    # -- Places and manifests ------------------------------------------------------------------------------------------------

    def _model_folder(self, entry: Entry) -> Path:
        return self.models_dir / _folder_name(entry)

    def _manifest_file(self, entry: Entry) -> Path:
        return self.models_dir / ".manifests" / f"{_folder_name(entry)}.json"

    def _manifest(self, entry: Entry) -> Manifest | None:
        """The recorded manifest, when it is of this repository, commit and selection."""
        manifest = read_manifest(self._manifest_file(entry))
        if manifest is None or manifest.repo != entry.repo or manifest.selection != _selection(entry):
            return None
        return manifest if entry.revision in (None, manifest.commit) else None

    def _complete(self, entry: Entry) -> Path | None:
        manifest = self._manifest(entry)
        if manifest is None or not manifest.complete or self._invalid_files(entry, manifest):
            return None
        return self._model_folder(entry)

    def _invalid_files(self, entry: Entry, manifest: Manifest) -> list[str]:
        """Missing and damaged files, named in the log."""
        before = [file.checked for file in manifest.files.values()]
        invalid = manifest.invalid_files(self._model_folder(entry))
        for name in invalid:
            state = "damaged" if (self._model_folder(entry) / name).exists() else "missing"
            logger.warning("the file %s of %s is %s", name, entry.id, state)
        if before != [file.checked for file in manifest.files.values()]:
            manifest.save(self._manifest_file(entry))
        return invalid

    @contextlib.contextmanager
    def _locked(self, entry: Entry) -> Iterator[None]:
        """One process at a time fetches a model."""
        file = self._manifest_file(entry).with_suffix(".lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file):
            yield

    # -- Fetching ------------------------------------------------------------------------------------------------------------

    def _fetch(self, entry: Entry, on_progress: Progress | None) -> Path:
        model_folder = self._model_folder(entry)
        with translate_hub_errors(entry, self._hub.host), self._locked(entry):
            manifest = self._manifest(entry) or self._resolve(entry)
            invalid = self._invalid_files(entry, manifest) if manifest.complete else list(manifest.files)
            manifest.complete = manifest.complete and not invalid
            manifest.save(self._manifest_file(entry))
            report = _ProgressReport(manifest, invalid, model_folder, on_progress)
            self._check_disk(entry, manifest.size - report.done)
            for name in invalid:
                self._fetch_file(entry, manifest, model_folder, name, report)
            manifest.complete = True
            manifest.save(self._manifest_file(entry))
            manifest.delete_unlisted_files(model_folder)
            report.finish()
        return model_folder

    def _resolve(self, entry: Entry) -> Manifest:
        """Ask the hub for the commit and the files. A commit that was recorded at the first use stays required."""
        recorded = read_manifest(self._manifest_file(entry))
        revision = entry.revision
        if revision is None and recorded is not None and recorded.repo == entry.repo and recorded.pinned == "first_use":
            revision = recorded.commit
        commit, files = self._hub.list_files(entry, revision)
        check_names(files, entry.name)
        manifest = Manifest(
            repo=str(entry.repo),
            commit=commit,
            pinned="catalog" if entry.revision else "first_use",
            selection=_selection(entry),
        )
        manifest.files = {name: files[name] for name in self._select(entry, commit, list(files))}
        if invalid := [name for name, file in manifest.files.items() if file.size < 0]:
            detail = (
                f"The hub's list of the files of {entry.name} is wrong: it gives no size, or a negative one, for {invalid[0]}."
            )
            raise DarkroomError("bad_answer", 502, detail)
        return manifest

    def _select(self, entry: Entry, commit: str, names: list[str]) -> list[str]:
        if isinstance(entry, AdapterEntry):
            if entry.filename not in names:
                raise DarkroomError("not_found", 502, f"The repository of {entry.name} has no file {entry.filename}.")
            return [str(entry.filename)]
        is_pipeline = "model_index.json" in names and not entry.files
        index = self._hub.read_json(entry, commit, "model_index.json") if is_pipeline else None
        selected = select_files(names, model=entry.name, variant=entry.variant, patterns=entry.files, index=index)
        if not any(name.endswith((".safetensors", ".onnx")) for name in selected):
            raise DarkroomError("unsafe_files", 422, f"The repository of {entry.name} has no weights in safetensors form.")
        return selected

    def _check_disk(self, entry: Entry, missing: int) -> None:
        free = shutil.disk_usage(self.models_dir).free
        if missing > 0 and missing + SPARE_DISK > free:
            sizes = f"needs {missing / 1e9:.1f} GB more on the disk of the models folder; {free / 1e9:.1f} GB are free."
            raise DarkroomError("disk_full", 507, f"{entry.name} {sizes}")

    def _fetch_file(self, entry: Entry, manifest: Manifest, model_folder: Path, name: str, report: _ProgressReport) -> None:
        """Download one file; a second time if its hash is wrong, then raise DarkroomError (damaged)."""
        file, target = manifest.files[name], model_folder / name
        part = _part_of(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.matches(target):
            report.add(file.size - (size_of(part) or 0))
            return file.mark_checked(target)
        for _ in range(2):
            self._hub.transfer(entry, manifest.commit, name, part, file.size, report.add)
            if file.matches(part):
                part.replace(target)
                return file.mark_checked(target)
            logger.warning("%s of %s came damaged", name, entry.id)
            report.add(-(size_of(part) or 0))
            part.unlink()
        raise DarkroomError("damaged", 502, f"The file {name} of {entry.name} comes damaged from the hub: its hash is wrong.")


class _ProgressReport:
    """Adds up the downloaded bytes and calls `on_progress` at most ten times a second."""

    def __init__(self, manifest: Manifest, invalid: list[str], model_folder: Path, on_progress: Progress | None) -> None:
        self.total = manifest.size
        self.done = self.total - sum(
            manifest.files[name].size - (size_of(_part_of(model_folder / name)) or 0) for name in invalid
        )
        self._on_progress, self._last_report = on_progress, 0.0
        self.add(0)

    def add(self, count: int) -> None:
        self.done += count
        if self._on_progress is not None and time.monotonic() - self._last_report >= REPORT_SECONDS:
            self._last_report = time.monotonic()
            self._on_progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.total, self.total)


def _folder_name(entry: Entry) -> str:
    prefix = "lora--" if isinstance(entry, AdapterEntry) else ""
    return prefix + entry.id.replace("/", "--")


def _selection(entry: Entry) -> list[str | None]:
    return [entry.filename] if isinstance(entry, AdapterEntry) else [entry.variant, *entry.files]


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")
