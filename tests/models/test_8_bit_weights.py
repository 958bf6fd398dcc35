"""Weights kept in 8 bits, by the entry's wish or where a model doesn't fit otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from api.catalog import Catalog
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.loading.device_memory import MEASURES, weight_bytes
from api.model_loader import ModelLoader
from tests.models.shortages import PROMPT, CpuAsAccelerator, make_pictures, tiny_catalog


@pytest.fixture(scope="module")
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return tiny_catalog(tmp_path_factory.mktemp("models"))


def with_storage(catalog: Catalog, model_id: str) -> Catalog:
    entry = dataclasses.replace(catalog.models[model_id], storage="fp8")
    return Catalog({**catalog.models, model_id: entry}, {})


class CpuAsCuda(CpuAsAccelerator):
    def free_memory(self) -> int:
        return self.memory_total

    def used_memory(self) -> int:
        return 0


@pytest.fixture
def cuda(device: Device) -> Device:
    return CpuAsCuda(**{**vars(device), "type": "cuda", "dtype": torch.bfloat16})


@pytest.mark.parametrize("model_id", ["a", "flux"])
def test_an_entry_s_weights_are_kept_in_8_bits_and_computed_as_ever(
    catalog: Catalog, tmp_path: Path, device: Device, model_id: str
) -> None:
    plain = ModelLoader(catalog, ModelStore(tmp_path), device)
    small = ModelLoader(with_storage(catalog, model_id), ModelStore(tmp_path), device)
    pictures, denoisers = [], []
    for loader in (plain, small):
        with loader.use(model_id, "text-to-image") as lease:
            generator = torch.Generator().manual_seed(1)
            pictures.append(lease.pipeline(**PROMPT, generator=generator, output_type="np").images)
            denoisers.append(lease.pipeline.unet if model_id == "a" else lease.pipeline.transformer)

    assert [denoiser.dtype for denoiser in denoisers] == [torch.float32] * 2
    assert (lease.measures, lease.notes) == (["fp8_storage"], [])
    assert weight_bytes(denoisers[1]) < 0.5 * weight_bytes(denoisers[0])  # the tiny ones are half norms and embeddings
    assert 0 < abs(pictures[0] - pictures[1]).max() < 0.2


def test_an_entry_in_8_bits_needs_no_offloading_where_that_suffices(catalog: Catalog, tmp_path: Path, cuda: Device) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), cuda)
    loader.load("a")
    limit = loader.loaded()[0]["bytes"] - 1000

    loader = ModelLoader(with_storage(catalog, "a"), ModelStore(tmp_path), cuda, memory_limit=limit)
    with loader.use("a", "text-to-image") as lease:
        assert lease.measures == ["fp8_storage"]
        assert len(make_pictures(loader, lease, 1)) == 1


def test_where_8_bits_are_asked_of_all_a_model_that_has_no_denoiser_still_needs_room(
    catalog: Catalog, tmp_path: Path, cuda: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    loader = ModelLoader(catalog, ModelStore(tmp_path), cuda, forced_measures=frozenset({"fp8_storage"}))
    monkeypatch.setattr("api.loading.device_memory.DENOISERS", ())
    monkeypatch.setattr(loader, "make_room", lambda needed: not asked.append(needed))
    with loader.use("a", "text-to-image") as lease:
        assert lease.measures == []
    assert asked == [loader.loaded()[0]["bytes"]]


def denoiser_in_8_bits(catalog: Catalog, tmp_path: Path, cuda: Device) -> int:
    with ModelLoader(with_storage(catalog, "a"), ModelStore(tmp_path), cuda).use("a", "text-to-image") as lease:
        parts = [weight_bytes(part) for part in (lease.pipeline.unet, lease.pipeline.vae, lease.pipeline.text_encoder)]
    return max(parts)


@pytest.mark.parametrize("model_id", ["a", "flux"])
def test_what_is_too_large_even_in_8_bits_is_brought_to_the_device_layer_by_layer(
    catalog: Catalog, tmp_path: Path, cuda: Device, model_id: str
) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), cuda, memory_limit=1000)
    with loader.use(model_id, "text-to-image") as lease:
        assert lease.measures == ["fp8_storage", "group_offload"]
        assert lease.notes == [MEASURES["fp8_storage"], MEASURES["group_offload"]]
        assert len(make_pictures(loader, lease, 1)) == 1
        assert not lease.apply_temporary_measure("cpu_offload")
        largest = max(weight_bytes(part) for part in lease.pipeline.components.values() if isinstance(part, torch.nn.Module))
        assert loader.loaded()[0]["bytes"] < largest
    assert loader.unload(model_id)


def test_a_denoiser_over_the_budget_is_kept_in_8_bits_and_offloaded_and_both_are_said(
    catalog: Catalog, tmp_path: Path, cuda: Device
) -> None:
    loader = ModelLoader(catalog, ModelStore(tmp_path), cuda, memory_limit=denoiser_in_8_bits(catalog, tmp_path, cuda))
    with loader.use("a", "text-to-image") as lease:
        assert lease.measures == ["fp8_storage", "cpu_offload"]
        assert lease.notes == [MEASURES["fp8_storage"], MEASURES["cpu_offload"]]
        assert len(make_pictures(loader, lease, 1)) == 1
