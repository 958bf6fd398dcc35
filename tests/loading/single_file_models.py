"""From a tiny model's folder to its single file, and from there to a pipeline or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.pipelines import build_pipeline
from tests.loading import originals
from tests.models.tiny import build_tiny_sd, build_tiny_sd2, build_tiny_sd3, build_tiny_sdxl

FAMILIES: dict[str, tuple[Callable[..., Path], Callable[[Path], originals.Tensors]]] = {
    "sd1": (build_tiny_sd, originals.sd1),
    "sd2": (build_tiny_sd2, originals.sd2),
    "sdxl": (build_tiny_sdxl, originals.sdxl),
    "sd3": (build_tiny_sd3, originals.sd3),
}


def entry_of(file: Path, **fields: Any) -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", path=file, single_file=True, base="base", **fields)


def single_file(folder: Path, family: str, **changes: torch.Tensor) -> Path:
    """The file that has the weights of a folder, with some tensors replaced or added."""
    tensors = FAMILIES[family][1](folder) | changes
    return originals.write(folder.parent / f"{family}.safetensors", tensors)


def load(folders: Path, device: Device, base: str, file: Path, **fields: Any) -> Any:
    return build_pipeline(entry_of(file, **fields), file, device, folders / f"{base}-base")


def refusal(folders: Path, device: Device, base: str, file: Path, **fields: Any) -> str:
    with pytest.raises(DarkroomError) as caught:
        load(folders, device, base, file, **fields)
    assert caught.value.status == 422
    assert str(folders) not in caught.value.detail
    return caught.value.detail
