"""Which layer of a model each key of an adapter's file is for, in the forms of names that are in use.  [torch]

Diffusers converts names by rules of its own, drops what it does not know and scales some layers wrongly where alpha differs
between them. Here every name is looked up among the model's own, and what fits nothing is listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from api.images.backends.lora_forms import ALPHA, BIAS, DOWN, LOW_RANK, MAGNITUDE, MID, UP, Form, change_of, find_form
from api.images.backends.original_names import original_names

SUFFIXES = {
    ".lora_down.weight": DOWN,
    ".lora_A.weight": DOWN,
    ".lora_A.default.weight": DOWN,
    ".lora.down.weight": DOWN,
    ".lora_linear_layer.down.weight": DOWN,
    "_lora.down.weight": DOWN,
    ".lora_up.weight": UP,
    ".lora_B.weight": UP,
    ".lora_B.default.weight": UP,
    ".lora.up.weight": UP,
    ".lora_linear_layer.up.weight": UP,
    "_lora.up.weight": UP,
    ".lora_mid.weight": MID,
    ".alpha": ALPHA,
    ".dora_scale": MAGNITUDE,
    ".lora_magnitude_vector": MAGNITUDE,
    ".lora_magnitude_vector.weight": MAGNITUDE,
    ".lora_magnitude_vector.default.weight": MAGNITUDE,
    **{f".hada_{name}": f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")},
    **{f".lokr_{name}": f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")},
    **{f".{name}.weight": f"glora_{name}" for name in ("a1", "a2", "b1", "b2")},
    ".oft_blocks": "oft_blocks",
    ".rescale": "rescale",
    ".diff": "diff",
    ".w_norm": "diff",
    ".diff_b": BIAS,
    ".b_norm": BIAS,
    ".on_input": "on_input",
    ".weight": "ia3_weight",
}
"""The endings of kohya's, PEFT's, diffusers' and LyCORIS's names, and which part of a layer's change they are. The first that fits."""

DENOISER, FIRST_ENCODER, SECOND_ENCODER = "denoiser", "text_encoder", "text_encoder_2"
PREFIXES = {
    "unet.": DENOISER,
    "lora_unet_": DENOISER,
    "transformer.": DENOISER,
    "lora_transformer_": DENOISER,
    "model.diffusion_model.": DENOISER,
    "diffusion_model.": DENOISER,
    "lycoris_": DENOISER,
    "text_encoder.": FIRST_ENCODER,
    "lora_te_": FIRST_ENCODER,
    "lora_te1_": FIRST_ENCODER,
    "text_encoder_2.": SECOND_ENCODER,
    "lora_te2_": SECOND_ENCODER,
}
"""A name without any of these is the denoiser's."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A layer that an adapter can change: its name with the component's, as diffusers has it, and the shape of its weight."""

    name: str
    shape: Shape
    has_bias: bool = True

    @property
    def is_denoiser_s(self) -> bool:
        return not self.name.startswith((FIRST_ENCODER, SECOND_ENCODER))


@dataclass(frozen=True)
class LayerChange:
    """What a file has for a layer: the form, None where only the bias is changed, and its keys by part."""

    form: Form | None
    keys: Mapping[str, str]

    @property
    def is_low_rank(self) -> bool:
        """A product of two factors and nothing else, which can be computed beside the layer."""
        return self.form is LOW_RANK and not {MID, MAGNITUDE} & self.keys.keys()


@dataclass
class Plan:
    """Where a file's keys go."""

    changes: dict[Layer, LayerChange] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)
    """Keys that name no layer of the model, or a part that can't be applied."""


class WrongShape(ValueError):
    """A key names a layer of the model and doesn't fit it: the file is for another model. The message names the key."""


class MissingPart(ValueError):
    """A layer has one factor of two. The message names the key that is there."""


def plan_keys(shapes: Mapping[str, Shape], layers: Mapping[tuple[str, str], Layer]) -> Plan:
    """`shapes` of the file's tensors by key; `layers` of `find_layers`. Raises WrongShape, MissingPart."""
    plan = Plan()
    found: dict[Layer, dict[str, str]] = {}
    for key in shapes:
        layer, part = _look_up(key, layers)
        if layer is None or (part == BIAS and not layer.has_bias):
            plan.unfit.append(key)
        else:
            found.setdefault(layer, {})[part] = key
    for layer, keys in found.items():
        form = find_form(keys)
        allowed = form.needed | form.optional if form else {BIAS}
        if form is None and (alone := keys.keys() - {ALPHA, BIAS, "ia3_weight", "on_input"}):
            raise MissingPart(
                f"{keys[min(alone)]} has no counterpart: what it takes to make the layer's change is not all there"
            )
        plan.unfit += [key for part, key in keys.items() if part not in allowed]
        change = LayerChange(form, {part: key for part, key in keys.items() if part in allowed})
        if change.keys:
            _check(layer, change, shapes)
            plan.changes[layer] = change
    return plan


def find_layers(pipeline: Any) -> dict[tuple[str, str], Layer]:
    """The layers of a pipeline's denoiser and text encoders by component and name, the latter with '_' for '.'."""
    found: dict[tuple[str, str], Layer] = {}
    unet = getattr(pipeline, "unet", None)
    denoiser, prefix = (pipeline.transformer, "transformer") if unet is None else (unet, "unet")
    for layer in _layers_of(denoiser, prefix):
        name = layer.name.removeprefix(f"{prefix}.")
        for alias in (name, name.removesuffix(".0") if name.endswith(".to_out.0") else name):
            found[DENOISER, _fold(alias)] = layer
    if unet is not None:
        names = [layer.name.removeprefix("unet.") for layer in set(found.values())]
        for alias, name in original_names(unet, names):
            found[DENOISER, _fold(alias)] = found[DENOISER, _fold(name)]
    for component in (FIRST_ENCODER, SECOND_ENCODER):
        for layer in _layers_of(getattr(pipeline, component, None), component):
            name = layer.name.removeprefix(f"{component}.").removeprefix("text_model.")
            found[component, _fold(name)] = layer
    return found


def _look_up(key: str, layers: Mapping[tuple[str, str], Layer]) -> tuple[Layer | None, str]:
    suffix = next((suffix for suffix in SUFFIXES if key.endswith(suffix)), None)
    if suffix is None:
        return None, ""
    name = key.removesuffix(suffix).removeprefix("base_model.model.")
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    component = PREFIXES.get(prefix, DENOISER)
    folded = _fold(name.removeprefix(prefix).replace(".processor.", "."))
    if component != DENOISER:
        folded = folded.removeprefix("text_model_")
    return layers.get((component, folded)), SUFFIXES[suffix]


def _check(layer: Layer, change: LayerChange, shapes: Mapping[str, Shape]) -> None:
    keys = change.keys
    if ALPHA in keys and math.prod(shapes[keys[ALPHA]]) != 1:
        raise WrongShape(f"{keys[ALPHA]} has the shape {_written(shapes[keys[ALPHA]])}, and one number is wanted")
    if BIAS in keys and math.prod(shapes[keys[BIAS]]) != layer.shape[0]:
        raise WrongShape(
            f"{keys[BIAS]} has the shape {_written(shapes[keys[BIAS]])}, and this model's layer takes {layer.shape[0]}"
        )
    if change.is_low_rank:
        _check_factors(layer, keys, shapes)
    elif change.form is not None:
        _check_form(layer, change.form, keys, shapes)


def _check_factors(layer: Layer, keys: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
    down, up = shapes[keys[DOWN]], shapes[keys[UP]]
    rank = down[0] if down else 0
    for key, shape, wanted in ((keys[DOWN], down, (rank, *layer.shape[1:])), (keys[UP], up, shape_of_up(layer, rank))):
        if len(layer.shape) < 2 or rank == 0 or _squeeze(shape) != _squeeze(wanted):
            raise WrongShape(f"{key} has the shape {_written(shape)}, and this model's layer takes {_written(wanted)}")


def _check_form(layer: Layer, form: Form, keys: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
    """The formula itself, on tensors that have shapes and no values."""
    parts = {part: torch.empty(shapes[key], device="meta") for part, key in keys.items() if part not in (ALPHA, BIAS)}
    weight = torch.empty(layer.shape, device="meta")
    try:
        change_of(form, parts, weight, 1.0)
    except (RuntimeError, ValueError, IndexError) as error:
        raise WrongShape(
            f"{keys[min(parts)]} and what belongs to it ({form.name}) give no change of this model's layer, "
            f"which has the shape {_written(layer.shape)}"
        ) from error


def shape_of_up(layer: Layer, rank: int) -> Shape:
    return (layer.shape[0], rank, *(1 for _ in layer.shape[2:]))


def _squeeze(shape: Shape) -> Shape:
    """A linear layer is a convolution of one pixel: files have either form."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _written(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "()"


def _fold(name: str) -> str:
    return name.replace(".", "_")


def _layers_of(module: torch.nn.Module | None, prefix: str) -> Iterator[Layer]:
    """Linear layers, convolutions and normalisations. A quantised weight is packed, and its shape is not the layer's."""
    for name, child in module.named_modules() if module is not None else ():
        if isinstance(child, torch.nn.Linear):
            shape: Shape = (child.out_features, child.in_features)
        elif isinstance(child, torch.nn.Conv2d):
            shape = (child.out_channels, child.in_channels // child.groups, *child.kernel_size)
        elif isinstance(child, torch.nn.GroupNorm | torch.nn.LayerNorm) and child.weight is not None:
            shape = tuple(child.weight.shape)
        else:
            continue
        yield Layer(f"{prefix}.{name}", shape, child.bias is not None)
