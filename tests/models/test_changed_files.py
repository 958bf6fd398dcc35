"""A model in memory whose files have changed since, and a VAE of the library in a model's folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from api.catalog import Catalog, ModelEntry
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.model_loader import ModelLoader
from tests.models.tiny import build_tiny_sd

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


@pytest.fixture
def mine(store: ModelStore, device: Device, tmp_path: Path) -> ModelLoader:
    """A loader of one model, whose folder a test may change."""
    folder = build_tiny_sd(tmp_path / "mine")
    return ModelLoader(Catalog({"mine": ModelEntry(id="mine", name="Mine", path=folder)}, {}), store, device)


def first_weight(loader: ModelLoader) -> float:
    with loader.use("mine", "text-to-image") as lease:
        return float(lease.pipeline.unet.conv_in.weight.detach().flatten()[0])


def test_a_model_is_loaded_again_when_its_files_have_changed(mine: ModelLoader, tmp_path: Path) -> None:
    before = first_weight(mine)
    build_tiny_sd(tmp_path / "mine", seed=1)
    assert first_weight(mine) != before
    assert [model["id"] for model in mine.loaded()] == ["mine"]


def test_a_model_in_use_stays_the_one_that_it_is(mine: ModelLoader, tmp_path: Path) -> None:
    with mine.use("mine", "text-to-image") as lease:
        build_tiny_sd(tmp_path / "mine", seed=1)
        with mine.use("mine", "image-to-image") as other:
            assert other.loaded_model is lease.loaded_model
    with mine.use("mine", "text-to-image") as later:
        assert later.loaded_model is not lease.loaded_model


def test_a_thread_that_may_not_load_uses_the_one_that_is_there(mine: ModelLoader, tmp_path: Path) -> None:
    mine.load("mine")
    build_tiny_sd(tmp_path / "mine", seed=1)
    with mine.use("mine", "text-to-image", load=False) as lease:
        assert lease.load_seconds == 0.0


def test_files_that_are_away_are_no_change(mine: ModelLoader, tmp_path: Path) -> None:
    before = first_weight(mine)
    (tmp_path / "mine").rename(tmp_path / "unmounted")
    assert first_weight(mine) == before


def test_a_file_that_was_damaged_meanwhile_is_an_error(mine: ModelLoader, tmp_path: Path) -> None:
    mine.load("mine")
    (tmp_path / "mine" / UNET).write_bytes(b"")
    with pytest.raises(DarkroomError, match="is damaged: it is empty"):
        mine.load("mine")
    assert mine.loaded() == []


# -- A VAE of the library


class OneVae:
    """A library in which `fine` is the VAE's name."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def find_model(self, name: str) -> None:
        return None

    def find_part(self, kind: str, name: str) -> Path | None:
        return self.file if name == "fine" else None

    def similar(self, kind: str, name: str) -> list[str]:
        return ["fine"]

    def why_not(self, name: str) -> str:
        return ""


def with_vae(loader: ModelLoader, file: Path, name: str) -> ModelLoader:
    entry = dataclasses.replace(loader.catalog.get("mine"), vae=name)
    loader.catalog = Catalog({"mine": entry}, {}, source=OneVae(file))  # type: ignore[arg-type]
    return loader


def test_a_folder_s_vae_is_replaced_by_the_one_that_the_entry_names(mine: ModelLoader, tmp_path: Path) -> None:
    other = build_tiny_sd(tmp_path / "other", seed=1) / "vae" / "diffusion_pytorch_model.safetensors"
    with with_vae(mine, other, "fine").use("mine", "text-to-image") as lease:
        own = load_file(other)
        assert all(torch.equal(weight, own[name]) for name, weight in lease.pipeline.vae.state_dict().items())
        assert lease.pipeline("a cat", width=64, height=64, num_inference_steps=1).images


def test_a_vae_that_has_changed_is_loaded_again(mine: ModelLoader, tmp_path: Path) -> None:
    other = build_tiny_sd(tmp_path / "other", seed=1) / "vae" / "diffusion_pytorch_model.safetensors"
    with with_vae(mine, other, "fine").use("mine", "text-to-image") as lease:
        first = lease.loaded_model
    save_file({name: weight + 1 for name, weight in load_file(other).items()}, other)
    with mine.use("mine", "text-to-image") as lease:
        assert lease.loaded_model is not first


def test_a_vae_that_nobody_has_is_named(mine: ModelLoader, tmp_path: Path) -> None:
    with pytest.raises(DarkroomError) as caught:
        with_vae(mine, tmp_path, "fin").load("mine")
    assert (caught.value.code, caught.value.status) == ("broken_model", 422)
    assert caught.value.detail == "Mine can't be loaded: There is no VAE 'fin'. Did you mean fine?"
