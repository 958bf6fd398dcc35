"""RRDBNet (Wang et al., "ESRGAN", arXiv:1809.00219; Real-ESRGAN, arXiv:2107.10833) under the names of its three releases.  [torch]

BasicSR, Real-ESRGAN   conv_first, body.0.rdb1.conv1, conv_body, conv_up1, conv_up2, conv_hr, conv_last
BSRGAN                 conv_first, RRDB_trunk.0.RDB1.conv1, trunk_conv, upconv1, upconv2, HRconv, conv_last
ESRGAN                 model.0, model.1.sub.0.RDB1.conv1.0, model.1.sub.23, model.3, model.6, model.8, model.10
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as functional
from torch import nn

from api.loading.upscaling.networks import (
    CHANNELS,
    NotAnUpscaler,
    Tensors,
    UpscalingNetwork,
    count_blocks,
    load_exactly,
)

MARGIN = 24
"""The network sees 350 pixels far, but what it sees there changes nothing: with 16 a pixel differs by one level, with 24 none does."""
UNSHUFFLED = {3: 1, 12: 2, 48: 4}
"""By the channels that go in: the side of the squares of pixels that are put into channels, by which it enlarges less."""
MOST_UPSAMPLES = 3
BSRGAN_NAMES = {
    r"^RRDB_trunk\.(\d+)\.RDB": r"body.\1.rdb",
    r"^trunk_conv\.": "conv_body.",
    r"^upconv(\d)\.": r"conv_up\1.",
    r"^HRconv\.": "conv_hr.",
}


class DenseBlock(nn.Module):
    """Five convolutions, each of which reads what all before it wrote."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        for place in range(4):
            setattr(self, f"conv{place + 1}", _conv(width + place * growth, growth))
        self.conv5 = _conv(width + 4 * growth, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x
        for name in ("conv1", "conv2", "conv3", "conv4"):
            seen = torch.cat([seen, _activate(getattr(self, name)(seen))], dim=1)
        return self.conv5(seen) * 0.2 + x


class ResidualBlock(nn.Module):
    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (DenseBlock(width, growth) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x  # type: ignore[no-any-return]


class RRDBNet(UpscalingNetwork):
    def __init__(self, width: int, growth: int, blocks: int, upsamples: int, unshuffled: int = 1) -> None:
        super().__init__()
        self.scale, self.divisor, self.upsamples = 2**upsamples // unshuffled, unshuffled, upsamples
        self.margin = MARGIN * unshuffled
        self.conv_first = _conv(CHANNELS * unshuffled**2, width)
        self.body = nn.Sequential(*(ResidualBlock(width, growth) for _ in range(blocks)))
        self.conv_body = _conv(width, width)
        for place in range(upsamples):
            setattr(self, f"conv_up{place + 1}", _conv(width, width))
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, CHANNELS)

    def in_dtype(self, dtype: torch.dtype) -> RRDBNet:
        self.to(dtype)
        self.conv_last.float()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.conv_first.weight.dtype)
        first = self.conv_first(functional.pixel_unshuffle(x, self.divisor) if self.divisor > 1 else x)
        maps = first + self.conv_body(self.body(first))
        for place in range(self.upsamples):
            enlarged = functional.interpolate(maps, scale_factor=2, mode="nearest")
            maps = _activate(getattr(self, f"conv_up{place + 1}")(enlarged))
        return self.conv_last(_activate(self.conv_hr(maps)).float())  # type: ignore[no-any-return]


def is_rrdbnet(tensors: Tensors) -> bool:
    return "conv_first.weight" in tensors or "model.1.sub.0.RDB1.conv1.0.weight" in tensors


def network_of(tensors: Tensors) -> RRDBNet:
    """Raises NotAnUpscaler."""
    named = from_esrgan(tensors) if "model.0.weight" in tensors else from_bsrgan(tensors)
    try:
        width, given = named["conv_first.weight"].shape[:2]
        growth = named["body.0.rdb1.conv1.weight"].shape[0]
    except (KeyError, ValueError):
        raise NotAnUpscaler("it begins as an RRDBNet does, and has no body.0.rdb1.conv1") from None
    if given not in UNSHUFFLED:
        raise NotAnUpscaler(f"it takes {given} channels, and pictures have {CHANNELS}")
    upsamples = count_blocks((name.replace("conv_up", "conv_up.") for name in named), "conv_up.")
    with torch.device("meta"):
        network = RRDBNet(width, growth, count_blocks(named, "body."), min(upsamples, MOST_UPSAMPLES), UNSHUFFLED[given])
    load_exactly(network, named)
    return network


def from_bsrgan(tensors: Tensors) -> dict[str, torch.Tensor]:
    """BasicSR's names stay as they are."""
    named = {}
    for name, tensor in tensors.items():
        for old, new in BSRGAN_NAMES.items():
            name = re.sub(old, new, name)
        named[name] = tensor
    return named


def from_esrgan(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The layers behind the trunk are told apart by their order: one for each doubling, then conv_hr and conv_last."""
    trunk = count_blocks(tensors, "model.1.sub.") - 1
    layers = sorted({int(found[1]) for name in tensors if (found := re.match(r"model\.(\d+)\.(?:weight|bias)$", name))})
    behind = [place for place in layers if place > 1]
    names = [*(f"conv_up{number + 1}" for number in range(len(behind) - 2)), "conv_hr", "conv_last"]
    places = {0: "conv_first", **dict(zip(behind, names, strict=False))}
    named = {}
    for name, tensor in tensors.items():
        if found := re.match(r"model\.(\d+)\.(weight|bias)$", name):
            named[f"{places[int(found[1])]}.{found[2]}"] = tensor
        elif name.startswith(f"model.1.sub.{trunk}."):
            named[name.replace(f"model.1.sub.{trunk}.", "conv_body.")] = tensor
        else:
            named[re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", name)] = tensor
    return named


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


def _activate(maps: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(maps, 0.2)
