"""Which layer of a model each key of a LoRA's file is for, in the forms of names that are in use.  [torch]

Diffusers converts names by rules of its own, drops what it does not know and scales some layers wrongly where alpha differs
between them. Here every name is looked up among the model's own, and what fits nothing is listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

DOWN, UP, ALPHA, MAGNITUDE = "down", "up", "alpha", "magnitude"
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
    ".alpha": ALPHA,
    ".dora_scale": MAGNITUDE,
    ".lora_magnitude_vector": MAGNITUDE,
    ".lora_magnitude_vector.weight": MAGNITUDE,
    ".lora_magnitude_vector.default.weight": MAGNITUDE,
}
"""The endings of kohya's, PEFT's and diffusers' names, and which part of a layer's change they are."""

DENOISER, FIRST_ENCODER, SECOND_ENCODER = "denoiser", "text_encoder", "text_encoder_2"
PREFIXES = {
    "unet.": DENOISER,
    "lora_unet_": DENOISER,
    "transformer.": DENOISER,
    "lora_transformer_": DENOISER,
    "model.diffusion_model.": DENOISER,
    "diffusion_model.": DENOISER,
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
    """A layer that a LoRA can change: its name with the component's, as diffusers wants it, and the shape of its weight."""

    name: str
    shape: Shape


@dataclass
class Plan:
    """Where a file's keys go. `parts` has for each layer its keys by part, of layers that have both factors."""

    parts: dict[Layer, dict[str, str]] = field(default_factory=dict)
    unfit: list[str] = field(default_factory=list)
    """Keys that name no layer of the model, or a part that can't be applied."""
    magnitudes: list[str] = field(default_factory=list)
    """Keys of DoRA, of layers whose factors are applied."""


class WrongShape(ValueError):
    """A key names a layer of the model and doesn't fit it: the file is for another model. The message names the key."""


class MissingPart(ValueError):
    """A layer has one factor of two. The message names the key that is there."""


def plan_keys(shapes: Mapping[str, Shape], layers: Mapping[tuple[str, str], Layer]) -> Plan:
    """`shapes` of the file's tensors by key; `layers` of `find_layers`. Raises WrongShape, MissingPart."""
    plan = Plan()
    for key in shapes:
        layer, part = _look_up(key, layers)
        if layer is None:
            plan.unfit.append(key)
        else:
            plan.parts.setdefault(layer, {})[part] = key
    for layer, keys in list(plan.parts.items()):
        if not keys.keys() & {DOWN, UP}:
            plan.unfit += keys.values()
            del plan.parts[layer]
            continue
        _check(layer, keys, shapes)
        if MAGNITUDE in keys:
            plan.magnitudes.append(keys.pop(MAGNITUDE))
    return plan


def make_weights(plan: Plan, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By PEFT's names, with alpha / rank multiplied into the second factor: a layer changes by B @ A."""
    weights = {}
    for layer, keys in plan.parts.items():
        down, up = tensors[keys[DOWN]].float(), tensors[keys[UP]].float()
        rank = down.shape[0]
        alpha = float(tensors[keys[ALPHA]]) if ALPHA in keys else float(rank)
        weights[f"{layer.name}.lora_A.weight"] = down.reshape(rank, *layer.shape[1:])
        weights[f"{layer.name}.lora_B.weight"] = (up * (alpha / rank)).reshape(_shape_of_up(layer, rank))
    return weights


def find_layers(pipeline: Any) -> dict[tuple[str, str], Layer]:
    """The layers of a pipeline's denoiser and text encoders by component and name, the latter with '_' for '.'."""
    found: dict[tuple[str, str], Layer] = {}
    unet = getattr(pipeline, "unet", None)
    denoiser, prefix = (pipeline.transformer, "transformer") if unet is None else (unet, "unet")
    for name, shape in _weights_of(denoiser):
        layer = Layer(f"{prefix}.{name}", shape)
        for alias in (name, name.removesuffix(".0") if name.endswith(".to_out.0") else name):
            found[DENOISER, _fold(alias)] = layer
    if unet is not None:
        for alias, name in _original_names(unet):
            found[DENOISER, _fold(alias)] = found[DENOISER, _fold(name)]
    for component in (FIRST_ENCODER, SECOND_ENCODER):
        for name, shape in _weights_of(getattr(pipeline, component, None)):
            found[component, _fold(name.removeprefix("text_model."))] = Layer(f"{component}.{name}", shape)
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


def _check(layer: Layer, keys: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
    if not {DOWN, UP} <= keys.keys():
        there = keys.get(DOWN) or keys[UP]
        raise MissingPart(f"{there} has no counterpart: a layer's change is a product of two factors")
    down, up = shapes[keys[DOWN]], shapes[keys[UP]]
    rank = down[0] if down else 0
    for key, shape, wanted in ((keys[DOWN], down, (rank, *layer.shape[1:])), (keys[UP], up, _shape_of_up(layer, rank))):
        if _squeeze(shape) != _squeeze(wanted):
            raise WrongShape(f"{key} has the shape {_written(shape)}, and this model's layer takes {_written(wanted)}")
    if ALPHA in keys and shapes[keys[ALPHA]] not in ((), (1,)):
        raise WrongShape(f"{keys[ALPHA]} has the shape {_written(shapes[keys[ALPHA]])}, and one number is wanted")


def _shape_of_up(layer: Layer, rank: int) -> Shape:
    return (layer.shape[0], rank, *(1 for _ in layer.shape[2:]))


def _squeeze(shape: Shape) -> Shape:
    """A linear layer is a convolution of one pixel: files have either form."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _written(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "()"


def _fold(name: str) -> str:
    return name.replace(".", "_")


def _weights_of(module: torch.nn.Module | None) -> Iterator[tuple[str, Shape]]:
    """Linear layers and convolutions. Where another adapter is on, the layer itself is its wrapper's `base_layer`."""
    for name, child in module.named_modules() if module is not None else ():
        if isinstance(child, torch.nn.Linear | torch.nn.Conv2d) and ".lora_" not in name:
            yield name.removesuffix(".base_layer"), tuple(child.weight.shape)


# -- The names of the original implementation --------------------------------------------------------------------------------

_OUTSIDE_BLOCKS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
}
_INSIDE_BLOCKS = {
    "resnets": {
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    },
    "downsamplers": {"conv": "op"},
}


def _original_names(unet: Any) -> Iterator[tuple[str, str]]:
    """(name in Stability's implementation, diffusers' name) of a UNet's layers: LoRAs for SDXL are written with the former."""
    places = _original_places(unet)
    for name, _ in _weights_of(unet):
        if name in _OUTSIDE_BLOCKS:
            yield _OUTSIDE_BLOCKS[name], name
            continue
        parts = name.split(".")
        length = 3 if parts[0] == "mid_block" else 4  # mid_block.resnets.0, down_blocks.1.resnets.0
        block, inner = ".".join(parts[:length]), ".".join(parts[length:])
        if block in places:
            yield f"{places[block]}.{_INSIDE_BLOCKS.get(parts[length - 2], {}).get(inner, inner)}", name


def _original_places(unet: Any) -> dict[str, str]:
    """Theirs for each resnet, attention, downsampler and upsampler: they count all blocks in one row."""
    places = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
    places["mid_block.resnets.1"] = "middle_block.2"
    count = 1
    for number, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            places[f"down_blocks.{number}.resnets.{layer}"] = f"input_blocks.{count}.0"
            places[f"down_blocks.{number}.attentions.{layer}"] = f"input_blocks.{count}.1"
            count += 1
        if block.downsamplers is not None:
            places[f"down_blocks.{number}.downsamplers.0"] = f"input_blocks.{count}.0"
            count += 1
    count = 0
    for number, block in enumerate(unet.up_blocks):
        behind = 2 if hasattr(block, "attentions") else 1
        for layer in range(len(block.resnets)):
            places[f"up_blocks.{number}.resnets.{layer}"] = f"output_blocks.{count}.0"
            places[f"up_blocks.{number}.attentions.{layer}"] = f"output_blocks.{count}.1"
            count += 1
        places[f"up_blocks.{number}.upsamplers.0"] = f"output_blocks.{count - 1}.{behind}"
    return places
