"""What an entry is where its single file says it and nobody else does. No torch, no Django."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.catalog.entries import IMAGE_ENCODER, IP_ADAPTER, TEXT_TO_IMAGE, UPSCALING, ModelEntry
from api.catalog.storages import why_no_storage
from api.catalog.usual_settings import usual_settings
from api.model_files.gguf import read_any_header
from api.model_files.header import HeaderError
from api.model_files.identify import Identity, identify
from api.model_files.quantization import read_quantization, why_not_quantized, why_not_quantized_parts
from api.model_files.usability import why_incomplete, why_no_checkpoint, why_no_upscaler, why_not_of_kind

SUFFIXES = (".safetensors", ".gguf")
SINGLE_FILE_TASKS = (TEXT_TO_IMAGE, UPSCALING, IP_ADAPTER, IMAGE_ENCODER)


def defaults_of_file(path: Path, task: str) -> dict[str, Any]:
    """Fields of a ModelEntry, by the file's header and name; {} for a file that is not there or can't be read."""
    try:
        header = read_any_header(path)
        identity = identify(header, path.name)
        if task == UPSCALING:
            return defaults_of_network(identity)
        if task in (IP_ADAPTER, IMAGE_ENCODER):
            return {**defaults_of_network(identity), "features": identity.features}
        found = defaults_of(identity, path.stem)
        return {**found, "memory": path.stat().st_size} if header.is_gguf else found
    except (HeaderError, OSError):
        return {}


def why_not(entry: ModelEntry) -> str:
    """Why an entry can't be loaded: its single file, by the header, its folder, by how its weights were quantised, or what its `storage`
    needs; "" where nothing speaks against it.
    """
    if reason := why_not_stored(entry):
        return reason
    path = entry.path
    if path is None:
        return ""
    if not entry.single_file:
        return why_not_quantized(read_quantization(path)) or why_not_quantized_parts(path)
    try:
        identity = identify(read_any_header(path), path.name)
    except HeaderError as error:
        return str(error)
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    if entry.task == UPSCALING:
        return why_no_upscaler(identity)
    if entry.task in (IP_ADAPTER, IMAGE_ENCODER):
        return why_not_of_kind(identity, entry.task)
    return why_no_checkpoint(identity) or why_incomplete(
        identity, path, vae=entry.vae, has_base=bool(entry.base), has_encoders=bool(entry.text_encoders)
    )


def why_not_stored(entry: ModelEntry) -> str:
    """What is missing for its `storage`."""
    missing = why_no_storage(entry.storage)
    return f"its `storage` is {entry.storage}, {missing}" if missing else ""


def defaults_of_network(identity: Identity) -> dict[str, Any]:
    return {"family": identity.family, "parameters": identity.parameters, "memory": identity.parameters * 2}


def defaults_of(identity: Identity, name: str) -> dict[str, Any]:
    """Fields of a ModelEntry: what fits the file's family, and the way that it was distilled."""
    found = usual_settings(identity.family, identity.variant, identity.prediction, identity.few_step, name)
    return {
        "family": identity.family,
        "parameters": identity.parameters,
        "memory": identity.parameters * 2,
        "default_size": found.size,
        "default_steps": found.steps,
        "default_guidance_scale": found.guidance_scale,
        "scheduler": found.scheduler,
    }
