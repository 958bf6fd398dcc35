"""Whoever serves a task says how its models are built; what that raises is told in a sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.device_memory import weight_bytes
from api.model_loader import Builder, ModelLoader, register_builder

MakeLoader = Callable[[Callable[..., Any]], ModelLoader]


@pytest.fixture
def loader_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeLoader:
    """Its one model, "chat", is built by the function given."""
    monkeypatch.setattr("api.loading.builders._builders", {})
    (tmp_path / "config.json").write_text("{}")
    entry = ModelEntry(id="chat", name="Chat", task="text-generation", path=tmp_path)

    def make(build: Callable[..., Any]) -> ModelLoader:
        register_builder("text-generation", Builder(build=build, estimate=lambda entry, folder, device: 80))
        device = Device("cpu", 0, "a processor", torch.float32, True, 8 * 2**30)
        return ModelLoader(Catalog({"chat": entry}, {}), ModelStore(tmp_path / "models"), device)

    return make


def test_another_capability_registers_how_its_task_is_loaded(loader_with: MakeLoader) -> None:
    loader = loader_with(lambda entry, folder, device: torch.nn.Linear(4, 4))
    with loader.use("chat", "text-generation") as lease:
        assert isinstance(lease.pipeline, torch.nn.Linear)
        assert loader.loaded()[0]["bytes"] == weight_bytes(lease.pipeline) == 80


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            ImportError(
                "\nPackage `num2words` is required to run SmolVLM processor.\nInstall it with `pip install num2words`."
            ),
            "missing_package",
            "Package `num2words` is required to run SmolVLM processor. Install it with `pip install num2words`.",
        ),
        (KeyError("weight"), "broken_model", "its files don't fit together."),
    ],
)
def test_what_cant_be_built_is_told_with_its_reason(loader_with: MakeLoader, error: Exception, code: str, words: str) -> None:
    def build(*args: object) -> None:
        raise error

    loader = loader_with(build)
    with pytest.raises(DarkroomError) as caught, loader.use("chat", "text-generation"):
        pass
    assert (caught.value.code, caught.value.detail) == (code, f"Chat can't be loaded: {words}")
    assert loader.loaded() == []
