"""From an upscaler's file to what a lease gets.  [torch; no Django]

*.safetensors     one file: the entry's `path`, or model.safetensors in its folder
config.json       {"model_type": "lanczos"}: no network, but the filter that is always there
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.device_memory import estimate_files
from api.loading.upscaling import rrdbnet, srvgg
from api.loading.upscaling.networks import NotAnUpscaler, UpscalingNetwork, without_wrapper

WEIGHTS, CONFIG, LANCZOS = "model.safetensors", "config.json", "lanczos"


@dataclass(frozen=True)
class Upscaler:
    """What a lease gets. `network` is None for Lanczos, which enlarges by any number."""

    network: UpscalingNetwork | None

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"network": self.network} if self.network is not None else {}


def make_builder() -> Builder:
    return Builder(build=build_upscaler, estimate=estimate_bytes)


def build_upscaler(entry: ModelEntry, folder: Path, device: Device) -> Upscaler:
    """In the device's dtype, but for the layer that makes the pixels. Raises DarkroomError."""
    if is_lanczos(folder):
        return Upscaler(None)
    try:
        network = network_of(load_file(weights_of(folder)))
    except (NotAnUpscaler, SafetensorError) as error:
        reason = str(error) if isinstance(error, NotAnUpscaler) else "its file is damaged"
        raise DarkroomError("broken_model", 422, f"{entry.name} can't be used to enlarge pictures: {reason}.") from error
    network = network.eval().requires_grad_(False).in_dtype(device.dtype)
    if device.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    return Upscaler(network)


def network_of(tensors: dict[str, torch.Tensor]) -> UpscalingNetwork:
    """In fp32. Raises NotAnUpscaler."""
    tensors = without_wrapper(tensors)
    if rrdbnet.is_rrdbnet(tensors):
        network: UpscalingNetwork = rrdbnet.network_of(tensors)
    elif srvgg.is_srvgg(tensors):
        network = srvgg.network_of(tensors)
    else:
        raise NotAnUpscaler("it is neither an RRDBNet nor an SRVGGNetCompact")
    if network.scale < 2:
        raise NotAnUpscaler("its network changes a picture and leaves it at its size")
    return network


def is_lanczos(folder: Path) -> bool:
    config = folder / CONFIG
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") == LANCZOS


def weights_of(folder: Path) -> Path:
    return folder if folder.is_file() else folder / WEIGHTS


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    return 0 if is_lanczos(folder) else estimate_files(entry, folder, [weights_of(folder)], device.dtype)
