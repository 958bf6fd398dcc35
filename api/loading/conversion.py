"""Converts a scorer's pickled weights (.pth) to safetensors, by an owner's command, never while serving.  [torch; no Django]

`torch.load` is used here alone, with `weights_only=True`, which unpickles tensors and plain containers and nothing else.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RECOGNISERS = ("api.loading.heads:recognise_checkpoint", "api.loading.nima:recognise_checkpoint")
"""'module:function', each from tensors by name to a `RecognisedCheckpoint`, or None."""


@dataclass(frozen=True)
class RecognisedCheckpoint:
    layout: str
    """In words."""
    task: str
    family: str
    """What the catalog's table has to say."""
    tensors: dict[str, torch.Tensor]
    """What is kept of the file, under the names that the loader reads."""
    needs_base: bool = False
    """It stands on another model (a head on its CLIP)."""
    width: int | None = None
    """Of the embeddings that a head takes."""


class NotConvertible(ValueError):
    """The message says why, in words for the owner of the file."""


def convert(source: Path, target: Path) -> RecognisedCheckpoint:
    """Write `target` (safetensors) from `source` (a pickled state dict). Raises NotConvertible, OSError."""
    tensors = read_state_dict(source)
    found = recognise(tensors)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in found.tensors.items()}, part, metadata={"format": "pt"})
    part.replace(target)
    return found


def read_state_dict(source: Path) -> dict[str, torch.Tensor]:
    """Raises NotConvertible for what is not a plain table of names and tensors."""
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise NotConvertible(f"{source.name} is no file of weights alone; it is not read any further.") from error
    if not isinstance(content, Mapping) or not content:
        raise NotConvertible(f"{source.name} holds a {type(content).__name__}, not a state dict.")
    invalid = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if invalid:
        raise NotConvertible(f"{source.name} is no plain state dict: {invalid[0]!r} is no tensor.")
    return {name: value.detach().clone() for name, value in content.items()}


def recognise(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint:
    for path in RECOGNISERS:
        module, function = path.split(":")
        found: RecognisedCheckpoint | None = getattr(importlib.import_module(module), function)(tensors)
        if found is not None:
            return found
    names = ", ".join(sorted(tensors)[:4])
    raise NotConvertible(f"Its keys ({names} …) are of no scorer that is known here.")
