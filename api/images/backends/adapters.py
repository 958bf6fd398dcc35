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
from safetensors.torch import load_file

from api.errors import DarkroomError
from api.images.backends.lora_keys import MissingPart, Plan, Shape, WrongShape, find_layers, make_weights, plan_keys
from api.model_files.header import HeaderError, read_header


@dataclass(frozen=True)
class Lora:
    """An adapter that is here: its id in the catalog (for messages), its safetensors file, and how strongly it acts."""

    id: str
    path: Path
    weight: float


@dataclass
class PutOn:
    """Adapters that act on a pipeline's modules; another object whenever they were put on anew."""

    loras: tuple[Lora, ...]
    notes: list[str]


_put_on: WeakKeyDictionary[torch.nn.Module, PutOn] = WeakKeyDictionary()


def apply_adapters(pipeline: Any, loras: Sequence[Lora]) -> list[str]:
    """Exactly `loras` act on the pipeline afterwards; what of them has no effect is told in sentences.

    Raises DarkroomError: lora_mismatch (400) for one that doesn't fit the model, lora_broken (422) for a file that is damaged.
    """
    wanted, denoiser = tuple(loras), _denoiser(pipeline)
    current = _put_on.get(denoiser, PutOn((), []))
    if current.loras == wanted:
        return current.notes
    remove_adapters(pipeline)
    if not wanted:
        return []
    notes: list[str] = []
    _put_on[denoiser] = PutOn(wanted, notes)  # before the work: what is put on by half must be taken off too
    try:
        names = [_load(pipeline, lora, f"adapter_{number}", notes) for number, lora in enumerate(wanted)]
        pipeline.set_adapters(names, adapter_weights=[lora.weight for lora in wanted])
    except BaseException:
        remove_adapters(pipeline)
        raise
    return notes


def adapters_on(denoiser: torch.nn.Module) -> PutOn | None:
    return _put_on.get(denoiser)


def remove_adapters(pipeline: Any) -> None:
    """The modules as the checkpoint has them."""
    if _put_on.pop(_denoiser(pipeline), None):
        pipeline.unload_lora_weights()


def _load(pipeline: Any, lora: Lora, name: str, notes: list[str]) -> str:
    """Put one adapter on under `name`, in the dtype that the modules run in."""
    shapes = _read_shapes(lora)
    plan = _plan(pipeline, lora, shapes)
    tensors = load_file(lora.path)
    if strange := next((key for key, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()), None):
        raise _broken(lora, f"{strange} has values that are not numbers")
    if not plan.parts:  # names of another implementation of a transformer, which diffusers has rules for
        tensors = _convert(pipeline, lora, tensors)
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        plan = _plan(pipeline, lora, shapes)
    if not plan.parts:
        raise _mismatch(lora, f"none of the {len(shapes)} keys of its file names a layer of it ({min(shapes)})")
    dtype = _denoiser(pipeline).dtype
    weights = {key: weight.to(dtype) for key, weight in make_weights(plan, tensors).items()}
    pipeline.load_lora_weights(weights, adapter_name=name)
    notes += _notes(lora, plan, len(shapes))
    return name


def _read_shapes(lora: Lora) -> dict[str, Shape]:
    try:
        shapes = {key: tensor.shape for key, tensor in read_header(lora.path).tensors.items()}
    except HeaderError as error:
        raise _broken(lora, str(error)) from error
    if not shapes:
        raise _broken(lora, "it holds no tensors")
    return shapes


def _plan(pipeline: Any, lora: Lora, shapes: dict[str, Shape]) -> Plan:
    try:
        return plan_keys(shapes, find_layers(pipeline))
    except WrongShape as error:
        raise _mismatch(lora, str(error)) from error
    except MissingPart as error:
        raise _broken(lora, str(error)) from error


def _convert(pipeline: Any, lora: Lora, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if getattr(pipeline, "unet", None) is not None:
        return tensors
    try:
        found = pipeline.lora_state_dict(dict(tensors))
    except (ValueError, KeyError, RuntimeError) as error:
        raise _mismatch(lora, f"its keys are of no form that is known ({min(tensors)})") from error
    return dict(found)


def _notes(lora: Lora, plan: Plan, keys: int) -> list[str]:
    notes = []
    if plan.unfit:
        count = f"{len(plan.unfit)} of the {keys} keys of its file fit nothing and have no effect"
        notes.append(f"The adapter '{lora.id}' fits this model in part: {count} (such as {min(plan.unfit)}).")
    if plan.magnitudes:
        count = f"its magnitudes ({len(plan.magnitudes)} keys, such as {min(plan.magnitudes)}) have no effect"
        notes.append(f"The adapter '{lora.id}' is a DoRA, of which only the low-rank part is applied: {count}.")
    return notes


def _mismatch(lora: Lora, reason: str) -> DarkroomError:
    detail = f"The adapter '{lora.id}' does not fit this model: {reason}."
    return DarkroomError("lora_mismatch", 400, detail, field="loras")


def _broken(lora: Lora, reason: str) -> DarkroomError:
    detail = f"The file {lora.path.name} of the adapter '{lora.id}' can't be used: {reason}."
    return DarkroomError("lora_broken", 422, detail, field="loras")


def _denoiser(pipeline: Any) -> Any:
    return pipeline.unet if getattr(pipeline, "unet", None) is not None else pipeline.transformer
