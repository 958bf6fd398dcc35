"""LoRA adapters on a pipeline's modules: put on for the requests that name them, and taken off before any other.  [torch]

The modules are shared by all pipelines of a model, and what was put on stays until a request wants something else: a run of
requests with the same adapters pays once. Taking off restores the modules as they were, so the next picture without adapters
has the same bytes as ever. Adapters add up: each changes a layer as it would alone, whatever their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from api.images.backends.lora_changes import Lora, OpenedLora, open_lora
from api.images.backends.lora_forms import BIAS
from api.images.backends.lora_keys import Layer, find_layers
from api.images.backends.lora_layers import ChangedLayers, read_parameter


@dataclass
class PutOn:
    """Adapters that act on a pipeline's modules; another object whenever they were put on anew."""

    loras: tuple[Lora, ...]
    notes: list[str] = field(default_factory=list)
    changed: ChangedLayers = field(default_factory=ChangedLayers)


_put_on: WeakKeyDictionary[torch.nn.Module, PutOn] = WeakKeyDictionary()


def apply_adapters(pipeline: Any, loras: Sequence[Lora]) -> list[str]:
    """Exactly `loras` act on the pipeline afterwards; what of them has no effect is told in sentences.

    Raises DarkroomError: lora_mismatch (400) for one that doesn't fit the model, lora_broken (422) for a file that is damaged.
    """
    wanted, denoiser = tuple(loras), _denoiser(pipeline)
    current = _put_on.get(denoiser, PutOn(()))
    if current.loras == wanted:
        return current.notes
    remove_adapters(pipeline)
    if not wanted:
        return []
    layers = find_layers(pipeline)
    opened = [open_lora(pipeline, lora, layers) for lora in wanted]
    put_on = PutOn(wanted, [note for one in opened for note in one.notes])
    _put_on[denoiser] = put_on  # before the work: what is put on by half must be taken off too
    try:
        for layer in dict.fromkeys(layers.values()):
            change_layer(pipeline, layer, [one for one in opened if one.acts_on(layer)], put_on.changed)
    except BaseException:
        remove_adapters(pipeline)
        raise
    return put_on.notes


def adapters_on(denoiser: torch.nn.Module) -> PutOn | None:
    return _put_on.get(denoiser)


def loras_on(denoiser: torch.nn.Module) -> tuple[Lora, ...]:
    put_on = _put_on.get(denoiser)
    return put_on.loras if put_on else ()


def remove_adapters(pipeline: Any) -> None:
    """The modules as the checkpoint has them."""
    denoiser = _denoiser(pipeline)
    if denoiser in _put_on:
        _put_on[denoiser].changed.restore(pipeline)
        del _put_on[denoiser]


def change_layer(pipeline: Any, layer: Layer, loras: Sequence[OpenedLora], changed: ChangedLayers) -> None:
    """By the sum of what each of them changes alone."""
    changes = [(lora, lora.changes[layer]) for lora in loras]
    if of_bias := [lora for lora, change in changes if BIAS in change.keys]:
        bias = read_parameter(pipeline, f"{layer.name}.bias")
        changed.add(pipeline, f"{layer.name}.bias", bias, [lora.bias_change_of(layer) for lora in of_bias])
    if of_weight := [lora for lora, change in changes if change.form and not change.is_low_rank]:
        weight = read_parameter(pipeline, f"{layer.name}.weight")
        changed.add(pipeline, f"{layer.name}.weight", weight, [lora.weight_change_of(layer, weight) for lora in of_weight])
    if low_rank := [lora for lora, change in changes if change.is_low_rank]:
        changed.wrap(pipeline, layer.name, [lora.factors_of(layer) for lora in low_rank])


def _denoiser(pipeline: Any) -> Any:
    return pipeline.unet if getattr(pipeline, "unet", None) is not None else pipeline.transformer
