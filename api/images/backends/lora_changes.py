"""What an adapter's file changes in a model: opened, checked, and counted, key by key.  [torch]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from api.errors import DarkroomError
from api.images.backends.lora_alphas import Alphas
from api.images.backends.lora_forms import ALPHA, BIAS, DOWN, UP, change_of, scale_of
from api.images.backends.lora_keys import Layer, LayerChange, MissingPart, Plan, Shape, WrongShape, plan_keys, shape_of_up
from api.model_files.header import Header, HeaderError, read_header

Layers = Mapping[tuple[str, str], Layer]


@dataclass(frozen=True)
class Lora:
    """An adapter that is here: its id in the catalog (for messages), its safetensors file, and how strongly it acts."""

    id: str
    path: Path
    weight: float
    unet: float | None = None
    """On the denoiser; None: `weight`."""
    text: float | None = None
    """On the text encoders; None: `weight`."""
    version: tuple[int, int] = (0, 0)
    """Of the file: another one when it has changed."""

    def strength_on(self, layer: Layer) -> float:
        own = self.unet if layer.is_denoiser_s else self.text
        return self.weight if own is None else own


@dataclass(frozen=True)
class OpenedLora:
    """An adapter's file whose tensors fit the model."""

    lora: Lora
    changes: Mapping[Layer, LayerChange]
    tensors: Mapping[str, torch.Tensor]
    alphas: Alphas
    notes: list[str]

    def acts_on(self, layer: Layer) -> bool:
        return layer in self.changes and self.lora.strength_on(layer) != 0

    def factors_of(self, layer: Layer) -> tuple[torch.Tensor, torch.Tensor]:
        """(down, up) in fp32, with scale and strength in the second."""
        keys = self.changes[layer].keys
        down, up = self.tensors[keys[DOWN]].float(), self.tensors[keys[UP]].float()
        rank = down.shape[0]
        scale = scale_of(self._alpha(layer), rank) * self.lora.strength_on(layer)
        return down.reshape(rank, *layer.shape[1:]), (up * scale).reshape(shape_of_up(layer, rank))

    def weight_change_of(self, layer: Layer, weight: torch.Tensor) -> torch.Tensor:
        """`weight`: the checkpoint's, in fp32."""
        form = self.changes[layer].form
        assert form is not None
        return change_of(form, self._parts(layer, weight.device), weight, self._alpha(layer)) * self.lora.strength_on(layer)

    def bias_change_of(self, layer: Layer) -> torch.Tensor:
        return self.tensors[self.changes[layer].keys[BIAS]].float().flatten() * self.lora.strength_on(layer)

    def _parts(self, layer: Layer, device: torch.device) -> dict[str, torch.Tensor]:
        keys = self.changes[layer].keys
        return {part: self.tensors[key].to(device).float() for part, key in keys.items() if part not in (ALPHA, BIAS)}

    def _alpha(self, layer: Layer) -> float | None:
        keys = self.changes[layer].keys
        if ALPHA in keys:
            return float(self.tensors[keys[ALPHA]])
        return self.alphas.of(layer.name, self.tensors[keys[DOWN]].shape[0]) if DOWN in keys else None


def open_lora(pipeline: Any, lora: Lora, layers: Layers) -> OpenedLora:
    """Raises DarkroomError: lora_mismatch (400) for one that doesn't fit the model, lora_broken (422) for a file that is damaged."""
    header = _read_header(lora)
    shapes = {key: tensor.shape for key, tensor in header.tensors.items()}
    plan = _plan(lora, shapes, layers)
    tensors = load_file(lora.path)
    if not plan.changes:  # names of another implementation of a transformer, which diffusers has rules for
        tensors = _convert(pipeline, lora, tensors)
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        plan = _plan(lora, shapes, layers)
    if not plan.changes:
        raise _mismatch(lora, f"none of the {len(shapes)} keys of its file names a layer of it ({min(shapes)})")
    _check_numbers(lora, tensors)
    notes = [*_notes_on_keys(lora, plan, len(shapes)), *_notes_on_parts(lora, plan)]
    return OpenedLora(lora, plan.changes, tensors, Alphas(header.metadata), notes)


def _read_header(lora: Lora) -> Header:
    try:
        header = read_header(lora.path)
    except (HeaderError, OSError) as error:
        raise _broken(lora, str(error) if isinstance(error, HeaderError) else "it can't be read") from error
    if not header.tensors:
        raise _broken(lora, "it holds no tensors")
    return header


def _plan(lora: Lora, shapes: Mapping[str, Shape], layers: Layers) -> Plan:
    try:
        return plan_keys(shapes, layers)
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


def _check_numbers(lora: Lora, tensors: Mapping[str, torch.Tensor]) -> None:
    for key, tensor in tensors.items():
        numbers = tensor.float() if tensor.dtype.itemsize == 1 else tensor  # fp8 has no such test
        if not torch.isfinite(numbers).all():
            raise _broken(lora, f"{key} has values that are not numbers")


def _notes_on_keys(lora: Lora, plan: Plan, keys: int) -> list[str]:
    if not plan.unfit:
        return []
    count = f"{len(plan.unfit)} of the {keys} keys of its file fit nothing and have no effect"
    return [f"The adapter '{lora.id}' fits this model in part: {count} (such as {min(plan.unfit)})."]


def _notes_on_parts(lora: Lora, plan: Plan) -> list[str]:
    """Of strengths for a part that the file doesn't change."""
    of_denoiser = any(layer.is_denoiser_s for layer in plan.changes)
    of_text = any(not layer.is_denoiser_s for layer in plan.changes)
    asked = (("unet", lora.unet, of_denoiser, "the denoiser"), ("text", lora.text, of_text, "the text encoders"))
    return [
        f"loras: `{name}` has no effect with '{lora.id}', which changes nothing in {part}."
        for name, strength, has_layers, part in asked
        if strength is not None and not has_layers
    ]


def _mismatch(lora: Lora, reason: str) -> DarkroomError:
    detail = f"The adapter '{lora.id}' does not fit this model: {reason}."
    return DarkroomError("lora_mismatch", 400, detail, field="loras")


def _broken(lora: Lora, reason: str) -> DarkroomError:
    detail = f"The file {lora.path.name} of the adapter '{lora.id}' can't be used: {reason}."
    return DarkroomError("lora_broken", 422, detail, field="loras")
