"""Which files of a model repository are fetched: only data, never code and never a pickle.  [no torch, no Django]"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from api.errors import DarkroomError
from api.json_types import JsonObject

DATA = re.compile(r"\.(safetensors|json|txt|jinja|model)$")
ONNX = re.compile(r"\.(onnx|onnx_data(_\d+)?)$")
PICKLES = re.compile(r"\.(bin|ckpt|pt|pth|pkl|msgpack|h5)(\.tar)?$")
WEIGHTS = re.compile(
    r"(?P<name>(diffusion_pytorch_|pytorch_)?model|open_clip_model)(\.(?P<before>\w+))?(-\d{5}-of-\d{5})?(\.(?P<after>\w+))?\.safetensors"
)
INDEX = re.compile(r".*\.safetensors\.index(\.(?P<variant>\w+))?\.json")


def unsafe(detail: str) -> DarkroomError:
    return DarkroomError("unsafe_files", 422, detail)


def check_names(names: Iterable[str], model: str) -> None:
    """Refuse a listing with a name that could leave its folder, or hide in it. Raises DarkroomError (unsafe_files)."""
    for name in names:
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\x00-\x1f]", name) or len(name) > 400:
            raise unsafe(f"The repository of {model} has a file with an unsafe name: {name[:80]!r}.")


def select_files(
    names: list[str], *, model: str, variant: str | None, patterns: tuple[str, ...], index: JsonObject | None
) -> list[str]:
    """The files of a repository that are needed: one set of weights for each component, its configuration, and nothing else.

    `index` is the model_index.json of a diffusers repository, else None; `patterns` (globs) replace the rules where given.
    Raises DarkroomError (unsafe_files) where a component has pickled weights only.
    """
    if patterns:
        chosen = [name for name in names if _is_data(name) or ONNX.search(name)]
        return [name for name in chosen if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    folders = components(index) if index is not None else {""}
    chosen = [name for folder in sorted(folders) for name in _select_folder(names, folder, variant)]
    if index is not None:
        chosen.append("model_index.json")
    for folder in sorted(folders):
        _require_safetensors(names, chosen, folder, model)
    return chosen


def components(index: JsonObject) -> set[str]:
    """The subfolders of a diffusers checkpoint that are loaded; the safety checker is not."""
    return {
        name
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and name != "safety_checker"
    }


def _is_data(name: str) -> bool:
    return DATA.search(name) is not None and PurePosixPath(name).name != "adapter_config.json"


def _folder_of(name: str) -> str:
    parent = str(PurePosixPath(name).parent)
    return "" if parent == "." else parent


def _select_folder(names: list[str], folder: str, variant: str | None) -> Iterator[str]:
    mine = [name for name in names if _folder_of(name) == folder and _is_data(name)]
    of_variant = any(variant and variant_of(name) == variant for name in mine)
    wanted = variant if of_variant else None
    for name in mine:
        leaf = PurePosixPath(name).name
        if leaf.endswith(".safetensors"):
            take = WEIGHTS.fullmatch(leaf) is not None and variant_of(name) == wanted
        else:
            is_index = INDEX.fullmatch(leaf)
            take = is_index is None or is_index["variant"] == wanted
        if take:
            yield name


def variant_of(name: str) -> str | None:
    """ "fp16" of diffusion_pytorch_model.fp16.safetensors; None of the plain weights."""
    match = WEIGHTS.fullmatch(PurePosixPath(name).name)
    return (match["before"] or match["after"]) if match else None


def _require_safetensors(names: list[str], chosen: list[str], folder: str, model: str) -> None:
    has_weights = any(_folder_of(name) == folder and name.endswith(".safetensors") for name in chosen)
    pickled = any(_folder_of(name) == folder and PICKLES.search(name) for name in names)
    if pickled and not has_weights:
        where = f"for {folder}" if folder else ""
        raise unsafe(
            f"The repository of {model} has pickled weights only {where}; they can run code and are never fetched.".replace(
                "  ", " "
            )
        )
