"""Small upscaling networks with weights of chance, and files of them under the names of each release."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file

from api.loading.upscaling.networks import UpscalingNetwork
from api.loading.upscaling.rrdbnet import RRDBNet
from api.loading.upscaling.srvgg import SRVGGNetCompact

Tensors = dict[str, torch.Tensor]
N = TypeVar("N", bound=UpscalingNetwork)


def rrdbnet(upsamples: int = 2, unshuffled: int = 1) -> RRDBNet:
    torch.manual_seed(1)
    return lively(RRDBNet(16, 8, 2, upsamples, unshuffled))


def srvgg(scale: int = 4) -> SRVGGNetCompact:
    torch.manual_seed(2)
    return lively(SRVGGNetCompact(16, 4, scale))


def lively(network: N) -> N:
    """With weights that make something of every pixel around."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(1.5)
    return network.eval()


def as_bsrgan(tensors: Tensors) -> Tensors:
    names = {
        r"^body\.(\d+)\.rdb": r"RRDB_trunk.\1.RDB",
        r"^conv_body": "trunk_conv",
        r"^conv_up": "upconv",
        r"^conv_hr": "HRconv",
    }
    return {renamed(name, names): tensor for name, tensor in tensors.items()}


def as_esrgan(tensors: Tensors) -> Tensors:
    """As of 2018: for a network of two blocks that doubles twice."""
    names = {
        r"^conv_first": "model.0",
        r"^body\.(\d+)\.rdb(\d)\.conv(\d)": r"model.1.sub.\1.RDB\2.conv\3.0",
        r"^conv_body": "model.1.sub.2",
        r"^conv_up1": "model.3",
        r"^conv_up2": "model.6",
        r"^conv_hr": "model.8",
        r"^conv_last": "model.10",
    }
    return {renamed(name, names): tensor for name, tensor in tensors.items()}


def renamed(name: str, patterns: dict[str, str]) -> str:
    for old, new in patterns.items():
        name = re.sub(old, new, name)
    return name


def write(path: Path, network: UpscalingNetwork) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path
