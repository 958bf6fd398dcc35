"""A catalog of small models for the backends that are networks, and a worker's loader of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from api import model_loader
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.models.tiny import LINEAR_PLACES, build_tiny_clip, head_tensors

CATALOG = """
[models.tiny-clip]
path = "tiny-clip"
task = "zero-shot-image-classification"
family = "clip"

[models.uiclip]
path = "tiny-uiclip"
task = "zero-shot-image-classification"
family = "uiclip"
base = "tiny-clip"

[models.tiny-head]
path = "tiny-head"
task = "aesthetic-head"
family = "laion"
base = "tiny-clip"

[models.head-alone]
path = "tiny-head"
task = "aesthetic-head"
family = "laion"

[models.wrong-head]
path = "tiny-head"
task = "aesthetic-head"
family = "laion"
base = "starter-clip"
"""
WIDTH = 32


@pytest.fixture(scope="module")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog's file, its models beside it. UIClip's has weights alone, as its repository has."""
    folder = tmp_path_factory.mktemp("small-models")
    build_tiny_clip(folder / "tiny-clip", projection=WIDTH)
    build_tiny_clip(folder / "tiny-uiclip", projection=WIDTH, seed=1)
    for file in (folder / "tiny-uiclip").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    (folder / "tiny-head").mkdir()
    save_file(head_tensors(LINEAR_PLACES, width=WIDTH), folder / "tiny-head" / "model.safetensors")
    (folder / "catalog.toml").write_text(CATALOG)
    return folder / "catalog.toml"


@pytest.fixture
def loader(small_models: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.CATALOG_EXTRA = small_models
    get_catalog.cache_clear()
    monkeypatch.setattr(model_loader, "_loader", None)
    yield model_loader.configure(get_catalog(), ModelStore(tmp_path / "models"), probe_device("cpu"))
    get_catalog.cache_clear()
