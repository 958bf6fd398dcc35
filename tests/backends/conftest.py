from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import AdapterEntry, Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends.adapters import remove_adapters
from api.model_loader import ModelLoader
from tests.backends.recorder import Recorder
from tests.models.tiny import (
    build_tiny_flux,
    build_tiny_lora,
    build_tiny_sd,
    build_tiny_sd2,
    build_tiny_sd3,
    build_tiny_sdxl,
)

FAMILIES = {
    "sd1": build_tiny_sd,
    "sd2": build_tiny_sd2,
    "sdxl": build_tiny_sdxl,
    "sd3": build_tiny_sd3,
    "flux": build_tiny_flux,
}

MakeLoader = Callable[[torch.dtype], ModelLoader]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks of a few kilobytes lose more by sharing out their work than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A tiny checkpoint of each family, its id the family's name; and a LoRA for sd1."""
    folder = tmp_path_factory.mktemp("checkpoints")
    models = {
        family: ModelEntry(id=family, name=family, family=family, path=build(folder / family), max_batch=4)
        for family, build in FAMILIES.items()
    }
    lora = build_tiny_lora(folder, folder / "sd1")
    adapters = {
        "bold": AdapterEntry(id="bold", name="bold", family="sd1", path=lora),
        "foreign": AdapterEntry(id="foreign", name="foreign", family="sdxl", path=lora),
    }
    return Catalog(models=models, adapters=adapters)


@pytest.fixture(scope="session")
def make_loader(tiny_catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> MakeLoader:
    """A loader on the CPU in a given dtype; one for each dtype in the session, so that models stay warm."""
    store = ModelStore(tmp_path_factory.mktemp("models"))
    loaders: dict[torch.dtype, ModelLoader] = {}

    def make(dtype: torch.dtype) -> ModelLoader:
        if dtype not in loaders:
            device = Device("cpu", 0, "test", dtype, channels_last=True, memory_total=2**33)
            loaders[dtype] = ModelLoader(tiny_catalog, store, device)
        return loaders[dtype]

    return make


@pytest.fixture(scope="session")
def loader(make_loader: MakeLoader) -> ModelLoader:
    return make_loader(torch.float32)


@pytest.fixture
def hooks() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def sd1_folder(tiny_catalog: Catalog) -> Path:
    folder = tiny_catalog.models["sd1"].path
    assert folder is not None
    return folder


@pytest.fixture
def sd1(loader: ModelLoader) -> Iterator[Any]:
    """A pipeline without adapters."""
    with loader.use("sd1", "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        yield lease.pipeline
        remove_adapters(lease.pipeline)


@pytest.fixture(params=["sd1", "sdxl"])
def pipeline(request: pytest.FixtureRequest, loader: ModelLoader) -> Iterator[Any]:
    """Without adapters, before and after."""
    with loader.use(request.param, "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        yield lease.pipeline
        remove_adapters(lease.pipeline)
