"""The network of starter-hazards: what a small feature map shows within each cell, to that cell's outputs.

A dense layer from one pooled vector to all cells (as in YOLIC's MobileNetV2) must learn every cell by itself, and a cell has a given
hazard in one picture of thirty: after 400 batches five of eight classes had an F1 below 0.03, and all together 0.21. Here all cells
share their weights: 0.71 after as many.
"""

import torch
from torch import nn
from torch.nn import functional

from api.starter.training.judge import Block
from api.starter.world.road import CELLS, CLASSES, HEIGHT, WIDTH

SIZE = 224
FINE, COARSE = 28, 14
"""Sizes of the feature maps."""
NARROW, WIDE, HIDDEN = 64, 88, 128


def pooling(size: int) -> torch.Tensor:
    """(size², cells): the part of a cell's area that each place of a feature map takes."""
    rows, columns = torch.zeros(size, len(CELLS)), torch.zeros(size, len(CELLS))
    for cell, (xmin, ymin, xmax, ymax) in enumerate(CELLS):
        columns[:, cell] = _overlap(xmin / WIDTH * size, xmax / WIDTH * size, size)
        rows[:, cell] = _overlap(ymin / HEIGHT * size, ymax / HEIGHT * size, size)
    shares = (rows[:, None] * columns[None]).reshape(size * size, len(CELLS))
    return shares / shares.sum(dim=0)


def _overlap(start: float, end: float, size: int) -> torch.Tensor:
    places = torch.arange(size)
    return (torch.clamp(places + 1, max=end) - torch.clamp(places, min=start)).clamp(min=0)


def _smaller(before: int, after: int, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, 2, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class HazardNetwork(nn.Module):
    """(N, 3, 224, 224) of 0..1 to (N, cells × (classes + 1)) logits, cell after cell, "normal" last in each."""

    def __init__(self) -> None:
        super().__init__()
        outputs = len(CLASSES) + 1
        self.stem = nn.Sequential(_smaller(3, 24, 5), _smaller(24, 40), _smaller(40, NARROW), Block(NARROW))
        self.deep = nn.Sequential(_smaller(NARROW, WIDE), Block(WIDE), Block(WIDE), Block(WIDE))
        self.across = nn.Conv2d(WIDE, NARROW, 1)
        self.merge = nn.Sequential(nn.Conv2d(NARROW, NARROW, 3, padding=1, bias=False), nn.BatchNorm2d(NARROW), nn.ReLU())
        self.dense = nn.Conv2d(NARROW, outputs, 1)
        self.hidden = nn.Conv1d(NARROW + 2 * WIDE, HIDDEN, 1)
        self.places = nn.Parameter(torch.zeros(HIDDEN, len(CELLS)))
        self.answer = nn.Conv1d(HIDDEN, outputs, 1)
        self.register_buffer("fine", pooling(FINE), persistent=False)
        self.register_buffer("coarse", pooling(COARSE), persistent=False)

    def features(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 64, 28, 28) and (N, 88, 14, 14)."""
        shallow = self.stem(pictures)
        deep = self.deep(shallow)
        wider = functional.interpolate(self.across(deep), scale_factor=2.0, mode="nearest")
        return self.merge(functional.relu(shallow + wider)), deep

    def answers(self, fine: torch.Tensor, deep: torch.Tensor) -> torch.Tensor:
        """(N, cells × outputs) from the two maps: each cell's mean of both, and the mean of the whole picture."""
        within = torch.cat([fine.flatten(2) @ self.get_buffer("fine"), deep.flatten(2) @ self.get_buffer("coarse")], dim=1)
        around = deep.mean(dim=(2, 3))[:, :, None].expand(-1, -1, len(CELLS))
        hidden = functional.relu(self.hidden(torch.cat([within, around], dim=1)) + self.places)
        return self.answer(hidden).transpose(1, 2).flatten(1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.answers(*self.features(pictures))
