"""Which snapshots of a model repository are refused: those that could make a library run code of their own, or read files outside
their folder.  [no torch, no Django]
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from api.downloads.permitted_files import INDEX, components, unsafe
from api.errors import DarkroomError
from api.json_types import JsonObject
from api.model_files.header import is_lfs_pointer
from api.model_files.quantization import read_quantization, why_not_quantized, why_not_quantized_parts

CONFIG_NAMES = ("config.json", "model_index.json")
SAFE_LIBRARIES = ("diffusers", "transformers")
OWN_FORMS = {
    "internvl_chat": " InternVL's repositories in transformers' own form have names that end in -hf (OpenGVLab/InternVL3-1B-hf)."
}
"""By model_type: where the same model can be had without such code."""
LARGEST_CONFIG = 32 * 1024 * 1024


def inspect_snapshot(folder: Path, model: str) -> None:
    """Refuse a folder whose configuration would run code or leave the folder.

    Raises DarkroomError: `needs_remote_code` where `auto_map` names code that transformers has no own class for, `unsafe_files`
    for an attention implementation from elsewhere, a class outside diffusers and transformers, or shards in another folder,
    `damaged` for a configuration that is not JSON, `unsupported_checkpoint` for weights quantised in a way that can't be read here.
    """
    if reason := why_not_quantized(read_quantization(folder)) or why_not_quantized_parts(folder):
        raise DarkroomError("unsupported_checkpoint", 422, f"{model} can't be loaded: {reason}.")
    for file in sorted(folder.rglob("*.json")):
        if file.name in CONFIG_NAMES or file.name.endswith("_config.json") or INDEX.fullmatch(file.name):
            _inspect(file, folder, model)


def _inspect(file: Path, folder: Path, model: str) -> None:
    content = _read(file, model)
    if INDEX.fullmatch(file.name):
        _check_shards(content, model)
    if file.name == "model_index.json":
        _check_classes(content, model)
    for values in _mappings(content):
        _check_attention(values, model)
        if values.get("auto_map"):
            _check_auto_map(values, file, folder, model)


def _read(file: Path, model: str) -> JsonObject:
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise unsafe(f"{file.name} of {model} is too large for a configuration.")
        if is_lfs_pointer(file):
            raise DarkroomError(
                "damaged", 422, f"{file.name} of {model} is a Git LFS pointer, not the file itself: `git lfs pull` fetches it."
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise DarkroomError("damaged", 502, f"{file.name} of {model} is not valid JSON.") from error
    return content if isinstance(content, dict) else {}


def _mappings(content: object) -> Iterator[JsonObject]:
    """Every JSON object, nested ones too."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_attention(values: JsonObject, model: str) -> None:
    if "_attn_implementation_internal" in values:
        raise unsafe(f"{model} sets _attn_implementation_internal, which makes transformers load code from elsewhere.")
    for key in ("attn_implementation", "_attn_implementation", "experts_implementation"):
        if "/" in str(values.get(key, "")):
            raise unsafe(f"{model} asks for an attention implementation from elsewhere.")


def _check_auto_map(values: JsonObject, file: Path, folder: Path, model: str) -> None:
    """`auto_map` is ignored where transformers knows the model_type itself, as it then uses its own class."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # seconds to import

    model_type = values.get("model_type")
    if model_type is None:
        beside = [place / "config.json" for place in (file.parent, folder) if (place / "config.json").exists()]
        model_type = _read(beside[0], model).get("model_type") if beside else None
    if model_type not in CONFIG_MAPPING_NAMES:
        raise DarkroomError(
            "needs_remote_code",
            422,
            f"{model} needs code from its repository (auto_map), which is never run here.{OWN_FORMS.get(str(model_type), '')}",
        )


def _check_classes(index: JsonObject, model: str) -> None:
    named = [("diffusers", index.get("_class_name"))]
    for name, value in index.items():
        if isinstance(value, list) and name in components(index):
            named.append((value[0], value[1]))
    for library, class_name in named:
        if library not in SAFE_LIBRARIES or not isinstance(class_name, str) or not _has_class(library, class_name):
            raise unsafe(f"{model} names the class {library}.{class_name}, which is not one of diffusers or transformers.")


def _has_class(library: str, class_name: str) -> bool:
    return class_name.isidentifier() and class_name in _names_in(library)


@cache
def _names_in(library: str) -> frozenset[str]:
    """transformers takes 0.2 s to list its names, and a pipeline has several of its classes."""
    return frozenset(dir(importlib.import_module(library)))


def _check_shards(index: JsonObject, model: str) -> None:
    shards = index.get("weight_map", {})
    if not isinstance(shards, dict) or any("/" in str(shard) or "\\" in str(shard) for shard in shards.values()):
        raise unsafe(f"A weight index of {model} points outside its folder.")
