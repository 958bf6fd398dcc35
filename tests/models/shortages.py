"""Memory that runs out where a test wants it, in real parts of tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.model_loader import Lease, ModelLoader
from tests.models.tiny import build_tiny_flux, build_tiny_sd

PROMPT: dict[str, Any] = {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 1}


def tiny_catalog(folder: Path) -> Catalog:
    builders = {"a": build_tiny_sd, "b": build_tiny_sd, "flux": build_tiny_flux}
    entries = {name: ModelEntry(id=name, name=name.upper(), path=build(folder / name)) for name, build in builders.items()}
    return Catalog(entries, {})


class Shortage:
    """A module that runs out of memory a number of times, or for as long as something holds; otherwise the real one."""

    def __init__(self, module: torch.nn.Module, fails: Callable[[tuple[Any, ...]], bool]) -> None:
        self.forward, self.calls = module.forward, 0
        self._fails = fails
        module.forward = self  # type: ignore[assignment]

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        self.calls += 1
        if self._fails(inputs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.forward(*inputs, **options)


class CpuAsAccelerator(Device):
    """Offloading runs its real hooks here, with the CPU as the device that parts are brought to."""

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")

    def empty_cache(self) -> None:
        pass


def make_pictures(loader: ModelLoader, lease: Lease, count: int) -> list[Any]:
    """What a backend does: pictures that are done stay done."""
    images: list[Any] = []
    for attempt in loader.retry_on_oom(lease, batch_size=count):
        with attempt:
            while len(images) < count:
                size = min(attempt.batch_size, count - len(images))
                images += lease.pipeline(**PROMPT, num_images_per_prompt=size, guidance_scale=1.0).images
    return images
