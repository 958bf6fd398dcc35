"""LoRA adapters on a pipeline's modules: put on for the requests that name them, and taken off before any other.  [torch]

The modules are shared by all pipelines of a model, and what was put on stays until a request wants something else: a run of
requests with the same adapters pays once. Taking off restores the modules as they were, so the next picture without adapters
has the same bytes as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from api.errors import DarkroomError


@dataclass(frozen=True)
class Lora:
    """An adapter that is here: its id in the catalog (for messages), its safetensors file, and how strongly it acts."""

    id: str
    path: Path
    weight: float


_put_on: WeakKeyDictionary[torch.nn.Module, tuple[Lora, ...]] = WeakKeyDictionary()


def apply_adapters(pipeline: Any, loras: Sequence[Lora]) -> None:
    """Exactly `loras` act on the pipeline afterwards. Raises DarkroomError (lora_mismatch, 400) for one that doesn't fit it."""
    wanted, denoiser = tuple(loras), _denoiser(pipeline)
    if _put_on.get(denoiser, ()) == wanted:
        return
    remove_adapters(pipeline)
    if not wanted:
        return
    _put_on[denoiser] = wanted  # before the work: what is put on by half must be taken off too
    try:
        names = [_load(pipeline, lora, f"adapter_{number}") for number, lora in enumerate(wanted)]
        pipeline.set_adapters(names, adapter_weights=[lora.weight for lora in wanted])
    except BaseException:
        remove_adapters(pipeline)
        raise


def remove_adapters(pipeline: Any) -> None:
    """The modules as the checkpoint has them."""
    if _put_on.pop(_denoiser(pipeline), ()):
        pipeline.unload_lora_weights()


def _load(pipeline: Any, lora: Lora, name: str) -> str:
    """Put one adapter on under `name`, in the dtype that the modules run in."""
    try:
        pipeline.load_lora_weights(lora.path.parent, weight_name=lora.path.name, adapter_name=name, local_files_only=True)
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise _mismatch(lora) from error
    if not any(name in names for names in pipeline.get_list_adapters().values()):
        raise _mismatch(lora)
    return name


def _mismatch(lora: Lora) -> DarkroomError:
    return DarkroomError("lora_mismatch", 400, f"The adapter '{lora.id}' does not fit this model.", field="loras")


def _denoiser(pipeline: Any) -> torch.nn.Module:
    return pipeline.unet if getattr(pipeline, "unet", None) is not None else pipeline.transformer
