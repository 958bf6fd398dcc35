"""NIMA checkpoints: a CNN with a 10-way softmax over ratings of 1 to 10, in the key layouts that are published.  [torch; no Django]

Talebi & Milanfar, "NIMA: Neural Image Assessment", IEEE TIP 2018, arXiv:1709.05424. The layout, and a resnet's depth and widths,
are read off the tensors' names and shapes:

    resnet        base_model.{0,1,4,5,6,7}.…  head.2        of any depth; basic or bottleneck blocks
    vgg16         features.{0..28}.…          classifier.1
    densenet121   features.….denselayer…      classifier.0  takes pixels of 0..1 without normalisation

A folder has `model.safetensors`, and a `config.json` where the picture's `size` (224 otherwise) or `mean` and `std` differ.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.conversion import NotConvertible, RecognisedCheckpoint
from api.loading.device_memory import estimate_files

SCORES = 10
WEIGHTS = "model.safetensors"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
Triple = tuple[float, float, float]


class NotNima(ValueError):
    """The tensors are of none of the layouts; the sentence says what was found."""


# ---------------------------------------------------------------- resnet


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; `out` is what leaves them (four times the width with bottlenecks)."""

    blocks: int
    width: int
    out: int
    bottleneck: bool


class Residual(nn.Module):
    """He et al. 2016: two 3×3 convolutions, or 1×1, 3×3 and 1×1, beside an identity; the stride is the 3×3's."""

    def __init__(self, before: int, stage: Stage, stride: int) -> None:
        super().__init__()
        width = stage.width
        shapes = [(before, width, 3, stride), (width, stage.out, 3, 1)]
        if stage.bottleneck:
            shapes = [(before, width, 1, 1), (width, width, 3, stride), (width, stage.out, 1, 1)]
        self.count = len(shapes)
        for number, (start, end, kernel, step) in enumerate(shapes, 1):
            self.add_module(f"conv{number}", nn.Conv2d(start, end, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(end))
        self.downsample = nn.Sequential()
        if stride != 1 or before != stage.out:
            self.downsample = nn.Sequential(nn.Conv2d(before, stage.out, 1, stride, bias=False), nn.BatchNorm2d(stage.out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            y = functional.relu(y) if number < self.count else y
        return functional.relu(y + self.downsample(x))


def _stage(before: int, stage: Stage, stride: int) -> nn.Sequential:
    blocks = [
        Residual(before if place == 0 else stage.out, stage, stride if place == 0 else 1) for place in range(stage.blocks)
    ]
    return nn.Sequential(*blocks)


class ResnetNima(nn.Module):
    """(N, 3, H, W), normalised, to (N, 10) logits."""

    def __init__(self, stem: int, stages: tuple[Stage, ...], dropout: float = 0.0) -> None:
        super().__init__()
        before, parts = stem, []
        for place, stage in enumerate(stages):
            parts.append(_stage(before, stage, 1 if place == 0 else 2))
            before = stage.out
        first = [nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        self.base_model = nn.Sequential(*first, *parts, nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(before, SCORES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.base_model(x).flatten(1))


def _resnet_of(tensors: Mapping[str, torch.Tensor]) -> ResnetNima:
    stages = []
    for place in range(4, 8):
        blocks = {int(name.split(".")[2]) for name in tensors if name.startswith(f"base_model.{place}.")}
        last = "conv3" if f"base_model.{place}.0.conv3.weight" in tensors else "conv2"
        width, out = (tensors[f"base_model.{place}.0.{name}.weight"].shape[0] for name in ("conv1", last))
        stages.append(Stage(len(blocks), width, out, last == "conv3"))
    return ResnetNima(tensors["base_model.0.weight"].shape[0], tuple(stages))


# ---------------------------------------------------------------- VGG16

VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of 3×3 convolutions; 0 halves the picture."""


class VggNima(nn.Module):
    """(N, 3, 224, 224), normalised, to (N, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in VGG16:
            if channels:
                layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
                before = channels
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.75), nn.Linear(7 * 7 * before, SCORES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


# ---------------------------------------------------------------- DenseNet-121

GROWTH, BOTTLENECK, FIRST = 32, 4, 64
DENSE_BLOCKS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    def __init__(self, before: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.conv2 = nn.Conv2d(BOTTLENECK * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(functional.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(y)))], dim=1)


class DensenetNima(nn.Module):
    """(N, 3, H, W) of 0..1 to (N, 10) logits. Huang et al., "Densely Connected Convolutional Networks", CVPR 2017."""

    def __init__(self) -> None:
        super().__init__()
        channels = FIRST
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, FIRST, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(FIRST),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        for number, layers in enumerate(DENSE_BLOCKS, 1):
            block = {f"denselayer{place}": DenseLayer(channels + (place - 1) * GROWTH) for place in range(1, layers + 1)}
            parts[f"denseblock{number}"] = nn.Sequential(OrderedDict(block))
            channels += layers * GROWTH
            if number < len(DENSE_BLOCKS):
                parts[f"transition{number}"] = _transition(channels)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Sequential(nn.Linear(channels, SCORES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = functional.adaptive_avg_pool2d(functional.relu(self.features(x)), 1)
        return self.classifier(pooled.flatten(1))


def _transition(channels: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(channels, channels // 2, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


# ---------------------------------------------------------------- loading


LAYOUTS: dict[str, Callable[[Mapping[str, torch.Tensor]], nn.Module]] = {
    "head.2.weight": _resnet_of,
    "classifier.1.weight": lambda tensors: VggNima(),
    "classifier.0.weight": lambda tensors: DensenetNima(),
}
"""By the layer that gives the ratings."""
BODIES = {"classifier.1.weight": "features.28.weight", "classifier.0.weight": "features.norm5.weight"}
"""Where the last layer has a name that many networks use (MobileNetV2's is classifier.1): a tensor that only this layout has."""


class Nima(nn.Module):
    """What a lease gets: pictures (N, 3, size, size) of 0..1 to ratings' shares (N, 10)."""

    def __init__(self, network: nn.Module, size: int, mean: Triple, std: Triple) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        normal = (pictures - self.get_buffer("mean")) / self.get_buffer("std")
        return self.network(normal).float().softmax(dim=1)


def network_of(tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network whose weights these are, with them, in float32. Raises NotNima."""
    head = next((name for name in LAYOUTS if name in tensors), None)
    if head is None:
        raise NotNima(f"none of {', '.join(LAYOUTS)} is among its tensors")
    if tensors[head].shape[0] != SCORES:
        raise NotNima(f"{head} has {tensors[head].shape[0]} outputs, and ratings are {SCORES}")
    try:
        network = LAYOUTS[head](tensors)
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
        )
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise NotNima(str(error).splitlines()[0]) from error
    return network


def load_nima(folder: Path) -> Nima:
    """Raises NotNima."""
    tensors = load_file(folder / WEIGHTS)
    network = network_of(tensors)
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8")) if config_file.exists() else {}
    mean, std = PLAIN if isinstance(network, DensenetNima) else IMAGENET
    size = config.get("size", 224)
    return Nima(network, size, config.get("mean", mean), config.get("std", std)).eval().requires_grad_(False)


def recognise_checkpoint(tensors: Mapping[str, torch.Tensor]) -> RecognisedCheckpoint | None:
    """For `api.loading.conversion`. None where the keys are of no layout; raises NotConvertible where the rest doesn't fit."""
    if not any(head in tensors and BODIES.get(head, head) in tensors for head in LAYOUTS):
        return None
    try:
        network = network_of(tensors)
    except NotNima as error:
        raise NotConvertible(f"It has the head of a NIMA, but {error}.") from error
    return RecognisedCheckpoint(f"NIMA ({type(network).__name__})", "image-aesthetics", "nima", dict(tensors))


def make_builder() -> Builder:
    return Builder(build=build_nima, estimate=estimate_bytes)


def build_nima(entry: ModelEntry, folder: Path, device: Device) -> Nima:
    """In float32 on every device: these networks are small, and a mean is told to two decimals. Raises DarkroomError."""
    try:
        return load_nima(folder)
    except NotNima as error:
        raise DarkroomError("broken_model", 422, f"{entry.name} is no NIMA checkpoint: {error}.") from error


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    return estimate_files(entry, folder, [folder / WEIGHTS], torch.float32)
