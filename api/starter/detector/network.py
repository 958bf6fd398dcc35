"""A small anchor-free detector with the outputs of YOLOv8's export. About 0.75 M parameters, 256 x 256 pixels."""

import torch
from torch import nn
from torch.nn import functional

from api.starter.world.labels import NAMES

SIZE = 256
STRIDES = (8, 16, 32)


class Conv(nn.Sequential):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.SiLU(inplace=True),
        )


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Conv(channels, channels), Conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class Stage(nn.Module):
    """Half of the channels go through residual blocks, and all that came before is joined again (C2f of YOLOv8)."""

    def __init__(self, inputs: int, outputs: int, blocks: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.split = Conv(inputs, outputs, 1)
        self.blocks = nn.ModuleList(Residual(half) for _ in range(blocks))
        self.join = Conv(outputs + blocks * half, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.split(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, dim=1))


class Head(nn.Module):
    """For each cell of one level: the distances to the box's sides in strides, and one logit for each class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.sides = self._branch(channels, 32, 4)
        self.classes = self._branch(channels, 56, classes)
        nn.init.constant_(self.sides[-1].bias, 2.0)  # type: ignore[arg-type]
        nn.init.constant_(self.classes[-1].bias, -4.6)  # type: ignore[arg-type]  # a probability of 1 %

    @staticmethod
    def _branch(channels: int, width: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(Conv(channels, width), Conv(width, width, groups=width), nn.Conv2d(width, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([functional.softplus(self.sides(x)), self.classes(x)], dim=1).flatten(2)


class Detector(nn.Module):
    """(N, 3, 256, 256) in 0..1 to (N, 4 + classes, cells): distances left, top, right, bottom in strides; logits."""

    def __init__(self, classes: int = len(NAMES)) -> None:
        super().__init__()
        self.to_4 = nn.Sequential(Conv(3, 16, 3, 2), Conv(16, 32, 3, 2), Stage(32, 32))
        self.to_8 = nn.Sequential(Conv(32, 64, 3, 2), Stage(64, 64))
        self.to_16 = nn.Sequential(Conv(64, 96, 3, 2), Stage(96, 96, 2))
        self.to_32 = nn.Sequential(Conv(96, 128, 3, 2), Stage(128, 128))
        self.down_to_16 = Stage(128 + 96, 96)
        self.down_to_8 = Stage(96 + 64, 48)
        self.heads = nn.ModuleList(Head(channels, classes) for channels in (48, 96, 128))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        at_8 = self.to_8(self.to_4(pictures))
        at_16 = self.to_16(at_8)
        at_32 = self.to_32(at_16)
        at_16 = self.down_to_16(torch.cat([functional.interpolate(at_32, scale_factor=2.0), at_16], dim=1))
        at_8 = self.down_to_8(torch.cat([functional.interpolate(at_16, scale_factor=2.0), at_8], dim=1))
        return torch.cat([head(x) for head, x in zip(self.heads, (at_8, at_16, at_32), strict=True)], dim=2)


def cells() -> tuple[torch.Tensor, torch.Tensor]:
    """The middle of every cell in pixels, (cells, 2), and its stride, (cells,)."""
    middles, strides = [], []
    for stride in STRIDES:
        line = (torch.arange(SIZE // stride) + 0.5) * stride
        y, x = torch.meshgrid(line, line, indexing="ij")
        middles.append(torch.stack([x, y], dim=-1).view(-1, 2))
        strides.append(torch.full((len(line) ** 2,), float(stride)))
    return torch.cat(middles), torch.cat(strides)


def boxes_of(output: torch.Tensor, middles: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """(N, cells, 4) corners x0, y0, x1, y1 in pixels."""
    sides = output[:, :4].transpose(1, 2) * strides[:, None]
    return torch.cat([middles - sides[..., :2], middles + sides[..., 2:]], dim=-1)


class Exported(nn.Module):
    """The same as YOLOv8's export: (N, 4 + classes, cells), a box's middle and size in input pixels, scores after the sigmoid."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.middles, self.strides = cells()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output = self.detector(images)
        corners = boxes_of(output, self.middles, self.strides)
        low, high = corners.chunk(2, dim=-1)
        boxes = torch.cat([(low + high) / 2, high - low], dim=-1).transpose(1, 2)
        return torch.cat([boxes, output[:, 4:].sigmoid()], dim=1)
