"""SRVGGNetCompact (Real-ESRGAN's small networks: animevideo, general-x4v3), and ours.  [torch]

A picture enlarged by whole pixels, and convolutions in its own size that say what is to be added to it.
"""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as functional
from torch import nn

from api.loading.upscaling.networks import CHANNELS, NotAnUpscaler, Tensors, UpscalingNetwork, load_exactly

FURTHEST = 32
"""Pixels: what lies further away than this changes nothing that can be seen."""


class SRVGGNetCompact(UpscalingNetwork):
    def __init__(self, width: int, convolutions: int, scale: int) -> None:
        """`convolutions`: of those between the first and the last."""
        super().__init__()
        self.scale, self.margin = scale, min(convolutions + 2, FURTHEST)
        layers: list[nn.Module] = [_conv(CHANNELS, width), nn.PReLU(width)]
        for _ in range(convolutions):
            layers += [_conv(width, width), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, _conv(width, CHANNELS * scale**2))

    def in_dtype(self, dtype: torch.dtype) -> SRVGGNetCompact:
        """Whole: what is added to the picture is small, and the picture itself stays as it is."""
        return self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = functional.pixel_shuffle(self.body(x.to(next(self.parameters()).dtype)), self.scale)
        return change.to(x.dtype) + functional.interpolate(x, scale_factor=self.scale, mode="nearest")


def is_srvgg(tensors: Tensors) -> bool:
    return "body.0.weight" in tensors and "body.1.weight" in tensors and tensors["body.1.weight"].dim() == 1


def network_of(tensors: Tensors) -> SRVGGNetCompact:
    """Raises NotAnUpscaler."""
    last = max(int(place) for name in tensors if (place := name.split(".")[1]).isdigit())
    width, made = tensors["body.0.weight"].shape[0], tensors[f"body.{last}.weight"].shape[0]
    scale = isqrt(made // CHANNELS)
    if last % 2 or scale**2 * CHANNELS != made:
        raise NotAnUpscaler(f"its last layer, body.{last}, makes {made} channels, which are no square of pixels in colour")
    with torch.device("meta"):
        network = SRVGGNetCompact(width, last // 2 - 1, scale)
    load_exactly(network, tensors)
    return network


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)
