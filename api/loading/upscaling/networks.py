"""What the upscaling networks have in common.  [torch; no Django]"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import torch

WRAPPERS = ("params_ema.", "params.", "module.", "generator.", "netG.")
"""What training programs put before every name of the network."""
CHANNELS = 3
Tensors = Mapping[str, torch.Tensor]


class NotAnUpscaler(ValueError):
    """The tensors are of no such network; the message says why, as a clause."""


class UpscalingNetwork(torch.nn.Module):
    """From (n, 3, h, w) in 0..1 to (n, 3, scale · h, scale · w)."""

    scale: int
    margin: int
    """Pixels around a tile that it has to be given, so that its own come out as they do in the whole picture."""
    divisor: int = 1
    """Of the sides of what it is given."""

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """Its weights in `dtype`, but for those whose result is the pixels: half precision has too few steps for 256 levels."""
        raise NotImplementedError


def without_wrapper(tensors: Tensors) -> dict[str, torch.Tensor]:
    for wrapper in WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            return {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def load_exactly(network: UpscalingNetwork, tensors: Tensors) -> None:
    """Raises NotAnUpscaler that names the first tensor that is missing, of another shape, or of no place in the network."""
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise NotAnUpscaler(f"it lacks the tensor {missing[0]}{_and_more(missing)}")
    if strange := sorted(tensors.keys() - wanted.keys()):
        raise NotAnUpscaler(f"it has the tensor {strange[0]}{_and_more(strange)}, which the network has no place for")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise NotAnUpscaler(f"its tensor {name} has the shape {list(tensor.shape)}, and {list(wanted[name].shape)} fits")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """How many numbers follow `prefix` in the names, which count from 0."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    return len([number for number in numbers if number.isdigit()])


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
