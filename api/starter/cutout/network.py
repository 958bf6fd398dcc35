"""The network of starter-cutout: how far each pixel belongs to the subject. About 0.75 M parameters, 256 x 256 pixels."""

import torch
from torch import nn
from torch.nn import functional

from api.starter.detector.network import Conv, Stage


class CutoutNetwork(nn.Module):
    """(N, 3, 256, 256) in 0..1 to (N, 1, 256, 256) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.to_2 = Conv(3, 16, 3, 2)
        self.to_4 = nn.Sequential(Conv(16, 32, 3, 2), Stage(32, 32))
        self.to_8 = nn.Sequential(Conv(32, 64, 3, 2), Stage(64, 64))
        self.to_16 = nn.Sequential(Conv(64, 96, 3, 2), Stage(96, 96, 2))
        self.to_32 = nn.Sequential(Conv(96, 128, 3, 2), Stage(128, 128))
        self.back_to_16 = Stage(128 + 96, 96)
        self.back_to_8 = Stage(96 + 64, 64)
        self.back_to_4 = Stage(64 + 32, 32)
        self.back_to_2 = nn.Sequential(Conv(32 + 16, 16), Conv(16, 16))
        self.edges = nn.Sequential(Conv(16 + 3, 12), nn.Conv2d(12, 1, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        at_2 = self.to_2(pictures)
        at_4 = self.to_4(at_2)
        at_8 = self.to_8(at_4)
        at_16 = self.to_16(at_8)
        x = self.back_to_16(torch.cat([_wider(self.to_32(at_16)), at_16], dim=1))
        x = self.back_to_8(torch.cat([_wider(x), at_8], dim=1))
        x = self.back_to_4(torch.cat([_wider(x), at_4], dim=1))
        x = self.back_to_2(torch.cat([_wider(x), at_2], dim=1))
        logits: torch.Tensor = self.edges(torch.cat([_wider(x), pictures], dim=1))
        return logits


def _wider(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Exported(nn.Module):
    """The same, as alpha of 0..1."""

    def __init__(self, network: CutoutNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).sigmoid()
