"""MobileNetV2 under the names that torchvision's checkpoints have.  [torch; no Django]

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018. YOLIC's hazard models are such networks whose last
layer gives all cells' outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from api.loading.conversion import NotConvertible, RecognisedCheckpoint

SIZE = 224
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, the first block's stride."""
FIRST, LAST = 32, 1280
ANSWER = "classifier.1.weight"
KEYS = {"features.0.0.weight", "features.18.0.weight", ANSWER}
"""No other network that is read here has these together."""


class NotMobileNet(ValueError):
    """The sentence says how the tensors differ."""


def convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]


def activated(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        expanding = [activated(*convolution(before, wide))] if expansion > 1 else []
        depthwise = activated(*convolution(wide, wide, 3, stride, groups=wide))
        self.conv = nn.Sequential(*expanding, depthwise, *convolution(wide, after))
        self.adds = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """(N, 3, 224, 224) to (N, outputs)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        before, layers = FIRST, [activated(*convolution(3, FIRST, 3, 2))]
        blocks: list[nn.Module] = []
        for expansion, channels, count, stride in STAGES:
            for place in range(count):
                blocks.append(InvertedResidual(before, channels, stride if place == 0 else 1, expansion))
                before = channels
        self.features = nn.Sequential(*layers, *blocks, activated(*convolution(before, LAST)))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST, outputs))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = self.classifier(self.features(pictures).mean(dim=(2, 3)))
        return answers


def network_of(tensors: Mapping[str, torch.Tensor]) -> MobileNetV2:
    """The network with these weights, in float32. Raises NotMobileNet."""
    if missing := sorted(KEYS - tensors.keys()):
        raise NotMobileNet(f"it lacks the tensor {missing[0]}")
    if tensors[ANSWER].ndim != 2:
        raise NotMobileNet(f"{ANSWER} has {tensors[ANSWER].ndim} axes, and a linear layer has 2")
    network = MobileNetV2(tensors[ANSWER].shape[0])
    try:
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        )
    except RuntimeError as error:
        raise NotMobileNet(str(error).splitlines()[1].strip().rstrip(".")) from error
    return network.eval().requires_grad_(False)


def recognise_checkpoint(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint | None:
    """For `api.loading.conversion`. None where the keys are of another network; raises NotConvertible where the rest doesn't fit."""
    if not tensors.keys() >= KEYS:
        return None
    try:
        network = network_of(tensors)
    except NotMobileNet as error:
        raise NotConvertible(f"It has the keys of a MobileNetV2, but {error}.") from error
    layout = f"MobileNetV2 with {network.outputs} outputs"
    return RecognisedCheckpoint(layout, "hazard-cells", "mobilenet_v2", dict(tensors), outputs=network.outputs)
