"""IP-Adapters for UNet families (arXiv:2308.06721): one file, or a folder with it and the image encoder.  [torch; no Django]

*.safetensors     tensors named image_proj.… and ip_adapter.…, as published; the base, the plus and the full form
image_encoder/    optional: what reads its pictures, where no other entry does
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from diffusers.models.embeddings import ImageProjection
from safetensors import SafetensorError
from safetensors.torch import load_file

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import broken_error, check_numbers
from api.loading.device_memory import bytes_in_dtype
from api.loading.image_encoders import ImageEncoder, build_image_encoder, find_encoder, header_of
from api.loading.image_encoders import estimate_bytes as estimate_encoder
from api.model_files.layouts import (
    IMAGE_ATTENTION,
    IMAGE_PROJECTION,
    ip_adapter_features,
    is_ip_adapter,
    why_no_ip_adapter,
)

Tensors = dict[str, torch.Tensor]
LayerPair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one cross-attention, (n, tokens, width) each."""


class IPAdapter(torch.nn.Module):
    """From what an image encoder makes of a picture to keys and values for each of a UNet's cross-attentions, in diffusers' order."""

    def __init__(self, projection: Any, keys: Tensors, features: str) -> None:
        super().__init__()
        self.projection, self.features = projection, features
        """`features`: what it reads, with the width ("embeds-1024")."""
        to_k, to_v = (read_layers(keys, name) for name in ("to_k_ip", "to_v_ip"))
        self.layer_shapes = [(layer.out_features, layer.in_features) for layer in to_k]
        """(width, width of the text) for each cross-attention."""
        self.to_k, self.to_v = torch.nn.ModuleList(to_k), torch.nn.ModuleList(to_v)
        self.encoder: ImageEncoder | None = None
        """Its own, where the folder has one."""

    @property
    def reads_states(self) -> bool:
        return not isinstance(self.projection, ImageProjection)

    @torch.no_grad()
    def project(self, read: torch.Tensor) -> list[LayerPair]:
        """Of n pictures, as `ImageEncoder.read` gives them."""
        weight = next(self.to_k.parameters())
        tokens = self.projection(read.to(weight.device, weight.dtype))
        return [(key(tokens), value(tokens)) for key, value in zip(self.to_k, self.to_v, strict=True)]


def read_layers(keys: Tensors, name: str) -> list[torch.nn.Linear]:
    """They have odd numbers: those between them are of the self-attentions. Raises KeyError."""
    count = sum(key.endswith(f".{name}.weight") for key in keys)
    layers = []
    for number in range(1, 2 * count, 2):
        weight = keys[f"{number}.{name}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(weight)
        layers.append(layer)
    return layers


def make_builder() -> Builder:
    return Builder(build=build_ip_adapter, estimate=estimate_bytes)


def build_ip_adapter(entry: ModelEntry, folder: Path, device: Device) -> IPAdapter:
    """In the device's dtype. Raises DarkroomError."""
    file = find_file(entry, folder)
    header = header_of(entry, file)
    if reason := why_no_ip_adapter(header.tensors):
        raise DarkroomError("unsupported_checkpoint", 422, f"{entry.name} can't be used: {reason}")
    try:
        tensors = {
            name: tensor.to(device.dtype, copy=True) for name, tensor in load_file(file).items()
        }  # the file isn't kept open
    except (SafetensorError, OSError) as error:
        raise DarkroomError("damaged", 422, f"The file {file.name} of {entry.name} changed while it was read.") from error
    check_numbers(entry, file.name, tensors)
    try:
        projection = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(
            part_of(tensors, IMAGE_PROJECTION), low_cpu_mem_usage=False
        )
        adapter = IPAdapter(projection, part_of(tensors, IMAGE_ATTENTION), ip_adapter_features(header.tensors))
    except (KeyError, IndexError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise broken_error(
            entry, f"{file.name} lacks tensors of an IP-Adapter, or has them in other shapes ({reason})"
        ) from error
    if folder.is_dir() and find_encoder(folder):
        adapter.encoder = build_image_encoder(entry, folder, device)
    return adapter.to(device.dtype).eval().requires_grad_(False)


def part_of(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def find_file(entry: ModelEntry, folder: Path) -> Path:
    if folder.is_file():
        return folder
    found = next(
        (file for file in sorted(folder.rglob("*.safetensors")) if is_ip_adapter(header_of(entry, file).tensors)), None
    )
    if found is None:
        raise broken_error(entry, "its folder has no IP-Adapter in safetensors form")
    return found


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    header = header_of(entry, find_file(entry, folder))
    own = estimate_encoder(entry, folder, device) if folder.is_dir() else 0
    return bytes_in_dtype(header.tensors.values(), device.dtype) + own
