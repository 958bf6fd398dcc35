"""A checkpoint in one file gives the pictures that the same weights give from diffusers' folder, offline."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.pipelines import build_pipeline, estimate_bytes
from api.loading.device_memory import weight_bytes
from tests.loading import originals
from tests.models.tiny import (
    build_tiny_flux,
    build_tiny_inpainting_sd,
    build_tiny_sd,
    build_tiny_sd2,
    build_tiny_sd3,
    build_tiny_sdxl,
)

FP8 = torch.float8_e4m3fn
FAMILIES: dict[str, tuple[Callable[..., Path], Callable[[Path], originals.Tensors]]] = {
    "sd1": (build_tiny_sd, originals.sd1),
    "sd2": (build_tiny_sd2, originals.sd2),
    "sdxl": (build_tiny_sdxl, originals.sdxl),
    "sd3": (build_tiny_sd3, originals.sd3),
}


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a load must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def device() -> Device:
    return Device("cpu", 0, "CPU", torch.float32, False, 2**34)


def entry_of(file: Path, **fields: Any) -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", path=file, single_file=True, base="base", **fields)


def folder_entry(folder: Path) -> ModelEntry:
    return ModelEntry(id="folder", name="Folder", path=folder)


def picture(pipeline: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    options = {"max_sequence_length": 77} if hasattr(pipeline, "text_encoder_3") else {}
    made = pipeline("a red cat at sunset", num_inference_steps=2, height=64, width=64, generator=generator, output_type="pt", **options)
    return made.images


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_is_the_folder_s(tmp_path: Path, device: Device, family: str) -> None:
    build, write = FAMILIES[family]
    folder = build(tmp_path / "folder")
    base = build(tmp_path / "base", seed=1)
    file = originals.write(tmp_path / "mine.safetensors", write(folder))
    entry = entry_of(file)
    single = build_pipeline(entry, file, device, base)
    whole = build_pipeline(folder_entry(folder), folder, device)
    assert {name: type(part) for name, part in single.components.items()} == {name: type(part) for name, part in whole.components.items()}
    assert torch.equal(picture(single), picture(whole))
    assert estimate_bytes(entry, file, device, base) == pytest.approx(weight_bytes(single), rel=0.05)
