"""From an upscaler's file to what a lease gets.  [torch; no Django]

*.safetensors     one file: the entry's `path`, or model.safetensors in its folder
config.json       {"model_type": "lanczos"} or "nearest": no network, but a filter that is always there
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.builders import Builder
from api.loading.checkpoints import check_numbers
from api.loading.device_memory import estimate_files
from api.loading.upscaling import rrdbnet, srvgg
from api.loading.upscaling.networks import NotAnUpscaler, UpscalingNetwork, without_wrapper

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Upscaler:
    """What a lease gets. `network` is None for a filter, which enlarges by any number."""

    network: UpscalingNetwork | None
    filter: Image.Resampling = Image.Resampling.LANCZOS
    """What enlarges where there is no network."""

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel of the result is one of the picture, its transparency included."""
        return self.network is None and self.filter == Image.Resampling.NEAREST

    @property
    def components(self) -> dict[str, torch.nn.Module]:
        """Modules that the loader moves and counts."""
        return {"network": self.network} if self.network is not None else {}


def make_builder() -> Builder:
    return Builder(build=build_upscaler, estimate=estimate_bytes)


def build_upscaler(entry: ModelEntry, folder: Path, device: Device) -> Upscaler:
    """In the device's dtype, but for the layer that makes the pixels. Raises DarkroomError."""
    if (filter_alone := filter_of(folder)) is not None:
        return Upscaler(None, filter_alone)
    try:
        tensors = load_file(weights_of(folder))
        check_numbers(entry, weights_of(folder).name, tensors)
        network = network_of(tensors)
    except (NotAnUpscaler, SafetensorError, OSError) as error:
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


def filter_of(folder: Path) -> Image.Resampling | None:
    config = folder / CONFIG
    return FILTERS.get(json.loads(config.read_text(encoding="utf-8")).get("model_type")) if config.is_file() else None


def weights_of(folder: Path) -> Path:
    return folder if folder.is_file() else folder / WEIGHTS


def estimate_bytes(entry: ModelEntry, folder: Path, device: Device) -> int:
    """What the weights will take in memory. Raises DarkroomError for a damaged file."""
    return 0 if filter_of(folder) is not None else estimate_files(entry, folder, [weights_of(folder)], device.dtype)
