"""CLIP models through the loader: like any other model, they are fetched, counted, pinned, evicted, and refused when wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device, probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.device_memory import weight_bytes
from api.model_loader import ModelBusy, ModelLoader
from tests.models.hub_server import HubServer
from tests.models.tiny import build_tiny_clip, build_tiny_sd

pytestmark = pytest.mark.models
TASK = "zero-shot-image-classification"


def entry(model_id: str, **values: object) -> ModelEntry:
    return ModelEntry(id=model_id, name=f"Tiny {model_id}", task=TASK, **values)  # type: ignore[arg-type]


@pytest.fixture
def device() -> Device:
    return dataclasses.replace(probe_device("cpu"), dtype=torch.float32)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    names = {name: entry(name, path=build_tiny_clip(tmp_path / name)) for name in ("one", "two")}
    pictures = ModelEntry(id="sd", name="Tiny sd", path=build_tiny_sd(tmp_path / "sd"))
    return Catalog({**names, "sd": pictures, "hub": entry("hub", repo="someone/clip")}, {})


@pytest.fixture
def loader(catalog: Catalog, store: ModelStore, device: Device) -> ModelLoader:
    return ModelLoader(catalog, store, device)


def loaded_ids(loader: ModelLoader) -> list[str]:
    return [model["id"] for model in loader.loaded()]


def test_a_lease_has_the_model_its_processor_and_its_tokenizer(loader: ModelLoader) -> None:
    with loader.use("one", TASK) as lease:
        clip = lease.pipeline
        assert type(clip.model).__name__ == "CLIPModel"
        assert clip.processor.crop_size["width"] == 32
        assert clip.context_length == 77


def test_its_memory_is_measured_and_was_estimated_rightly(loader: ModelLoader, catalog: Catalog, device: Device) -> None:
    with loader.use("one", TASK) as lease:
        held = weight_bytes(lease.pipeline)
        estimate = lease.loaded_model.builder.estimate(catalog.get("one"), catalog.get("one").path, device)  # type: ignore[arg-type]
    assert loader.loaded()[0]["bytes"] == held
    assert abs(held - estimate) <= 2 * 8 * 77 + 8 * 100  # the buffers of positions are made, not stored
    assert held > 100_000


def test_it_is_held_in_the_devices_dtype(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = ModelLoader(catalog, store, dataclasses.replace(device, dtype=torch.bfloat16))
    with loader.use("one", TASK) as lease:
        assert {parameter.dtype for parameter in lease.pipeline.model.parameters()} == {torch.bfloat16}


def test_it_gives_way_to_another_model_when_memory_is_short(catalog: Catalog, store: ModelStore, device: Device) -> None:
    loader = ModelLoader(catalog, store, device, memory_limit=400_000)
    loader.load("one")
    loader.load("two")
    assert loaded_ids(loader) == ["two"]


def test_it_stands_beside_an_image_model(loader: ModelLoader) -> None:
    with loader.use("sd", "text-to-image"), loader.use("one", TASK):
        assert sorted(loaded_ids(loader)) == ["one", "sd"]


def test_it_is_not_unloaded_while_it_is_in_use(loader: ModelLoader) -> None:
    with loader.use("one", TASK), pytest.raises(ModelBusy):
        loader.unload("one")
    assert loader.unload("one")
    assert loaded_ids(loader) == []


def test_it_makes_no_pictures(loader: ModelLoader) -> None:
    with pytest.raises(DarkroomError, match="can't do text-to-image") as caught, loader.use("one", "text-to-image"):
        pass
    assert caught.value.code == "unsupported_task"


def test_it_comes_from_the_hub(loader: ModelLoader, hub: HubServer, tmp_path: Path) -> None:
    hub.add("someone/clip", build_tiny_clip(tmp_path / "published"))
    with loader.use("hub", TASK) as lease:
        assert lease.pipeline.model.config.projection_dim == 32
    assert "model.safetensors" in hub.fetched()


def test_another_kind_of_checkpoint_is_named(loader: ModelLoader, catalog: Catalog) -> None:
    config = catalog.get("one").path / "config.json"  # type: ignore[operator]
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": "siglip"}))
    with pytest.raises(DarkroomError, match="no CLIPModel: its model_type is 'siglip'"), loader.use("one", TASK):
        pass


def test_a_damaged_file_is_named(loader: ModelLoader, catalog: Catalog) -> None:
    weights = catalog.get("one").path / "model.safetensors"  # type: ignore[operator]
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DarkroomError, match=r"The file model\.safetensors of Tiny one is damaged"), loader.use("one", TASK):
        pass
