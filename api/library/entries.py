"""From a row of the library to the catalog's entry."""

import dataclasses
from pathlib import Path
from typing import Any

from api.catalog import TEXT_TO_IMAGE, AdapterEntry, EmbeddingEntry, ModelEntry
from api.catalog.control_kinds import kinds_by_name, union_kinds
from api.catalog.usual_settings import usual_settings
from api.library.models import TASKS, Kind, LibraryFile
from api.model_files.gguf import SUFFIX as GGUF
from api.model_files.layouts import UNION

SOURCE = "library"
UNKNOWN_LICENCE = "unknown"
NETWORKS = (Kind.UPSCALER, Kind.IP_ADAPTER, Kind.IMAGE_ENCODER)


def model_entry(row: LibraryFile) -> ModelEntry:
    """Of what makes pictures, steers them, or enlarges them."""
    entry = network_entry(row) if row.kind in NETWORKS else checkpoint_entry(row)
    return dataclasses.replace(entry, **own_values(row)) if row.own_settings else entry


def own_values(row: LibraryFile) -> dict[str, Any]:
    """What the owner says of it, as an entry has it. An empty text says nothing."""
    stated = {key: value for key, value in row.own_settings.items() if value != ""}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stated.items()}


def network_entry(row: LibraryFile) -> ModelEntry:
    """Of what has no settings of its own."""
    return ModelEntry(
        id=row.entry_id,
        name=row.name,
        task=TASKS[Kind(row.kind)],
        family=row.family,
        features=() if row.kind == Kind.UPSCALER else tuple(row.variant.split()),
        path=Path(row.path),
        single_file=True,
        licence=row.licence or UNKNOWN_LICENCE,
        source=SOURCE,
        parameters=row.parameters,
        sha256=row.sha256,
        memory=2 * row.parameters or row.size,
    )


def checkpoint_entry(row: LibraryFile) -> ModelEntry:
    usual = usual_settings(row.family, row.variant, row.prediction, row.few_step, row.file_name)
    return ModelEntry(
        id=row.entry_id,
        name=row.name,
        task=TASKS.get(Kind(row.kind), TEXT_TO_IMAGE),
        family=row.family,
        control=control_kinds(row) if row.kind == Kind.CONTROLNET else (),
        path=Path(row.path),
        single_file=not row.is_folder,
        vae=str(row.beside(row.vae)) if row.vae else "",
        prediction=row.prediction,
        zero_terminal_snr=row.zero_terminal_snr,
        scheduler=usual.scheduler,
        licence=row.licence or UNKNOWN_LICENCE,
        source=SOURCE,
        default_size=usual.size,
        default_steps=usual.steps,
        default_guidance_scale=usual.guidance_scale,
        parameters=row.parameters,
        sha256=row.sha256,
        memory=row.size if row.path.lower().endswith(GGUF) else 2 * row.parameters or row.size,
    )


def control_kinds(row: LibraryFile) -> tuple[str, ...]:
    types = row.variant.removeprefix(UNION)
    return union_kinds(int(types)) if types.isdecimal() else kinds_by_name(row.stem)


def adapter_entry(row: LibraryFile) -> AdapterEntry:
    return AdapterEntry(
        id=row.entry_id,
        name=row.name,
        family=row.family,
        path=Path(row.path),
        licence=row.licence or UNKNOWN_LICENCE,
        trigger=", ".join(row.trigger_words),
    )


def embedding_entry(row: LibraryFile) -> EmbeddingEntry:
    return EmbeddingEntry(
        id=row.entry_id, name=row.name, path=Path(row.path), family=row.family, aliases=(row.stem, row.file_name)
    )
