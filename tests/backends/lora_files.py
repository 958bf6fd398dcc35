"""LoRA files in the forms that people have, for a model's own layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from api.images.backends.lora_layers import LowRankLayer

Tensors = dict[str, torch.Tensor]


def layers_of(pipeline: Any, *, convolutions: bool = False) -> dict[str, torch.Size]:
    """'unet.…' and 'text_encoder….…' names of the layers that LoRAs are trained for, with their weights' shapes."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d) if convolutions else torch.nn.Linear
    found = {}
    for component in ("unet", "text_encoder", "text_encoder_2"):
        module = getattr(pipeline, component, None)
        for name, child in module.named_modules() if module is not None else ():
            if isinstance(child, kinds) and ("attn" in name or "ff" in name or "mlp" in name or "resnets" in name):
                found[f"{component}.{name}"] = child.weight.shape
    return found


def make_factors(
    layers: Mapping[str, torch.Size], *, rank: Callable[[int], int] = lambda number: 4
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(down, up) for each layer; `rank` by the layer's number."""
    generator = torch.Generator().manual_seed(0)
    factors = {}
    for number, (name, (outputs, inputs, *kernel)) in enumerate(layers.items()):
        down = torch.randn(rank(number), inputs, *kernel, generator=generator)
        up = torch.randn(outputs, rank(number), *(1 for _ in kernel), generator=generator)
        factors[name] = (down * 0.2, up * 0.2)
    return factors


def kohya(name: str, *, xl: bool = False) -> str:
    component, _, rest = name.partition(".")
    if component == "unet":
        return "lora_unet_" + rest.replace(".", "_")
    number = {"text_encoder": "1" if xl else "", "text_encoder_2": "2"}[component]
    rest = rest.removeprefix("text_model.")
    return f"lora_te{number}_text_model_" + rest.replace(".", "_")


def write_kohya(
    file: Path,
    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    alphas: Callable[[int, int], float | None],
    *,
    xl: bool = False,
) -> Path:
    """`alphas` by the layer's number and rank; None writes none."""
    tensors: Tensors = {}
    for number, (name, (down, up)) in enumerate(factors.items()):
        key = kohya(name, xl=xl)
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        alpha = alphas(number, down.shape[0])
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return write(file, tensors)


def write_peft(file: Path, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> Path:
    tensors: Tensors = {}
    for name, (down, up) in factors.items():
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    return write(file, tensors)


def write(file: Path, tensors: Tensors) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


def changes(pipeline: Any, names: Iterable[str]) -> Tensors:
    """What is computed beside each layer, as a change of its weight; 0 where there is nothing."""
    found = {}
    for name in names:
        component, _, rest = name.partition(".")
        layer = getattr(pipeline, component).get_submodule(rest)
        found[name] = torch.zeros_like(layer.weight)
        if isinstance(layer, LowRankLayer):
            found[name] += (layer.up.flatten(1) @ layer.down.flatten(1)).reshape(layer.weight.shape)
    return found
