"""Tiny models as diffusers' folders and as the files that other programs keep them in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from api.devices import Device
from tests.loading.single_file_models import FAMILIES


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a load must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def device() -> Device:
    return Device("cpu", 0, "CPU", torch.float32, False, 2**34)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd1`, `sdxl` … and, with other weights, `sd1-base` …, which entries name as their base."""
    root = tmp_path_factory.mktemp("folders")
    for family, (build, _) in FAMILIES.items():
        build(root / family)
        build(root / f"{family}-base", seed=1)
    return root
