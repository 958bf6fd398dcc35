"""Converts pickled weights (.ckpt, .pt, .pth, .pth.tar) to safetensors, by an owner's command, never while serving.  [torch; no Django]

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

RECOGNISERS = (
    "api.loading.heads:recognise_checkpoint",
    "api.loading.nima:recognise_checkpoint",
    "api.loading.mobilenet:recognise_checkpoint",
    "api.loading.single_files.recognising:recognise_checkpoint",
)
"""'module:function', each from tensors by name to a `RecognisedCheckpoint`, or None."""

WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params")
"""Where training programs keep the weights, beside the number of the epoch and the like."""
EMBEDDING = "string_to_param"
"""Where AUTOMATIC1111 keeps the vectors of an embedding, one tensor under the name "*"."""
VECTORS = "emb_params"
"""Their name in a safetensors file."""
PARALLEL = "module."
"""What torch's DataParallel puts before every name."""


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
    outputs: int | None = None
    """Of a network whose cells.json must fit them."""
    kind: str = ""
    """Of a file that is loaded as it is, not as a folder: checkpoint, vae, lora, embedding (api/model_files/identify.py)."""


class TrainingCallback:
    """Stands for classes of Lightning, by which its checkpoints name what their training did. Nothing of them is read."""


HARMLESS: list[Any] = [
    torch.nn.ParameterDict,
    *(
        (TrainingCallback, f"{package}.callbacks.{name}")
        for package in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
        for name in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping", "lr_monitor.LearningRateMonitor")
    ),
]
"""Classes that unpickling may build beside tensors and plain containers."""


class NotConvertible(ValueError):
    """The message says why, in words for the owner of the file."""


def convert(source: Path, target: Path) -> RecognisedCheckpoint:
    """Write `target` (safetensors) from `source` (a pickled state dict). Raises NotConvertible, OSError."""
    found = read_checkpoint(source)
    write_checkpoint(found, target)
    return found


def read_checkpoint(source: Path) -> RecognisedCheckpoint:
    """Raises NotConvertible, OSError."""
    return recognise(read_state_dict(source))


def write_checkpoint(found: RecognisedCheckpoint, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in found.tensors.items()}, part, metadata={"format": "pt"})
    part.replace(target)


def read_state_dict(source: Path) -> dict[str, torch.Tensor]:
    """Raises NotConvertible for what is not a plain table of names and tensors."""
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise NotConvertible(f"{source.name} is no file of weights alone; it is not read any further.") from error
    content = unwrap(content)
    if not isinstance(content, Mapping) or not content:
        raise NotConvertible(f"{source.name} holds a {type(content).__name__}, not a state dict.")
    invalid = [name for name, value in content.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if invalid:
        raise NotConvertible(f"{source.name} is no plain state dict: {invalid[0]!r} is no tensor.")
    parallel = all(name.startswith(PARALLEL) for name in content)
    return {name.removeprefix(PARALLEL) if parallel else name: value.detach().clone() for name, value in content.items()}


def unwrap(content: object) -> Any:
    """The state dict within a training program's checkpoint, where it is one; the vectors of an embedding."""
    vectors = content.get(EMBEDDING) if isinstance(content, Mapping) else None
    if isinstance(vectors, Mapping | torch.nn.ParameterDict) and len(vectors) == 1:
        return {VECTORS: next(iter(vectors.values()))}
    found = [content[key] for key in WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
    return found[0] if found else content


def recognise(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint:
    for path in RECOGNISERS:
        module, function = path.split(":")
        found: RecognisedCheckpoint | None = getattr(importlib.import_module(module), function)(tensors)
        if found is not None:
            return found
    names = ", ".join(sorted(tensors)[:4])
    raise NotConvertible(f"Its keys ({names} …) are of no network that is known here.")
