"""Adapters in a model's layers, and the layers as they were.  [torch]

A product of two small factors is computed beside its layer, whose weight stays as it is. Any other change is added to the weight in
place, and the original is kept in main memory: putting it back gives the same bits. Nothing is merged and subtracted again, which
would leave rounding errors in everybody's pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from api.errors import DarkroomError
from api.loading.device_memory import is_offloaded_by_layers
from api.loading.few_bits import is_packed


class LowRankLayer(torch.nn.Module):
    """A linear layer or a convolution, and beside it up(down(x)). Factors of several adapters are stacked: one product for all."""

    def __init__(self, base_layer: torch.nn.Linear | torch.nn.Conv2d, down: torch.Tensor, up: torch.Tensor) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.down = torch.nn.Parameter(down, requires_grad=False)
        self.up = torch.nn.Parameter(up, requires_grad=False)

    def __getattr__(self, name: str) -> Any:
        """What others ask a layer for (its weight, in_features …) is the base's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_layer"), name)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        base = self.base_layer
        inputs = values.to(self.down.dtype)
        if isinstance(base, torch.nn.Conv2d):
            narrow = functional.conv2d(inputs, self.down, None, base.stride, base.padding, base.dilation)
            change = functional.conv2d(narrow, self.up)
        else:
            change = functional.linear(functional.linear(inputs, self.down), self.up)
        result: torch.Tensor = base(values)
        return result + change.to(result.dtype)


@dataclass
class ChangedLayers:
    """What was changed in a pipeline's modules, by names that begin with the component's: 'unet.conv_in'."""

    wrapped: list[str] = field(default_factory=list)
    originals: dict[str, torch.Tensor] = field(default_factory=dict)
    """Copies of weights and biases, by parameter."""
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    """In which each component computes; asking for it walks through all its modules."""
    devices: dict[str, torch.device | None] = field(default_factory=dict)
    """Where the factors stay, of components whose layers are brought to the device one by one; None: where the layer's weight is."""

    def wrap(self, pipeline: Any, name: str, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """`pairs`: (down, up) in fp32, for each adapter with its scale and strength in it."""
        parent, attribute, layer = _find(pipeline, name)
        component = name.partition(".")[0]
        if component not in self.dtypes:
            self.dtypes[component] = getattr(pipeline, component).dtype
            self.devices[component] = pipeline._execution_device if is_offloaded_by_layers(pipeline) else None
        device, dtype = self.devices[component] or layer.weight.device, self.dtypes[component]
        down, up = (torch.cat(factors, dim=axis).to(device, dtype) for axis, factors in enumerate(zip(*pairs, strict=True)))
        setattr(parent, attribute, LowRankLayer(layer, down, up))
        self.wrapped.append(name)

    def add(self, pipeline: Any, name: str, values: torch.Tensor, changes: Sequence[torch.Tensor]) -> None:
        """The sum of `changes` to a parameter, rounded once to its dtype. All in fp32; `values` as the parameter has them."""
        parameter = _parameter(pipeline, name)
        self.originals[name] = parameter.detach().to("cpu", copy=True)
        for change in changes:
            values = values + change.to(values.device)
        with torch.no_grad():
            parameter.copy_(values)

    @property
    def is_coarse(self) -> bool:
        return any(original.dtype.itemsize == 1 for original in self.originals.values())

    def restore(self, pipeline: Any) -> None:
        while self.wrapped:
            parent, attribute, layer = _find(pipeline, self.wrapped[-1])
            setattr(parent, attribute, layer.base_layer)
            self.wrapped.pop()
        with torch.no_grad():
            for name, original in self.originals.items():
                _parameter(pipeline, name).copy_(original)
        self.originals.clear()


def read_parameter(pipeline: Any, name: str) -> torch.Tensor:
    """In fp32. Raises DarkroomError (400) where the numbers are packed: such a weight can't be added to."""
    parameter = _parameter(pipeline, name)
    if is_packed(parameter):
        detail = f"This kind of adapter changes the weights themselves, and the model's are quantised ({name})."
        raise DarkroomError("lora_mismatch", 400, detail, field="loras")
    return parameter.detach().float()


def _component(pipeline: Any, name: str) -> Any:
    return getattr(pipeline, name.partition(".")[0])


def _find(pipeline: Any, name: str) -> tuple[torch.nn.Module, str, Any]:
    """The module that has it, its name there, and the layer."""
    _, _, path = name.partition(".")
    parent_path, _, attribute = path.rpartition(".")
    parent = _component(pipeline, name).get_submodule(parent_path)
    return parent, attribute, getattr(parent, attribute)


def _parameter(pipeline: Any, name: str) -> torch.Tensor:
    _, _, path = name.partition(".")
    parameter: torch.Tensor = _component(pipeline, name).get_parameter(path)
    return parameter
