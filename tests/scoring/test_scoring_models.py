"""Models that judge, as their owner meets them: fetched with what they stand on, listed, loaded, unloaded, added by a file."""

from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from safetensors.torch import save_file

from api import model_loader
from api.devices import probe_device
from api.jobs.models import Job
from api.model_loader import ModelLoader
from api.system.selectors import model_store
from config.catalog import get_catalog
from tests.models.hub_server import HubServer
from tests.models.tiny import LINEAR_PLACES, build_tiny_clip, head_tensors
from tests.scoring.conftest import encoded, poster

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
CATALOG = """
[models.clip-on-hub]
repo = "someone/clip"
task = "zero-shot-image-classification"
family = "clip"

[models.uiclip]
repo = "someone/uiclip"
task = "zero-shot-image-classification"
family = "uiclip"
base = "clip-on-hub"

[models.head-on-hub]
repo = "someone/head"
task = "aesthetic-head"
family = "laion"
files = ["model.safetensors"]
base = "clip-on-hub"
"""


@pytest.fixture
def hub(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """With repositories of the shapes that the public ones have, and a worker's loader that knows it."""
    (tmp_path / "catalog.toml").write_text(CATALOG)
    clip, uiclip = build_tiny_clip(tmp_path / "clip"), build_tiny_clip(tmp_path / "uiclip", seed=1)
    weights = {name: (uiclip / name).read_bytes() for name in ("config.json", "model.safetensors")}
    save_file(head_tensors(LINEAR_PLACES, width=32), tmp_path / "head.safetensors")
    get_catalog.cache_clear()
    with HubServer().running() as server:
        settings.CATALOG_EXTRA, settings.MODELS_DIR = tmp_path / "catalog.toml", tmp_path / "models"
        settings.HF_ENDPOINT = server.endpoint
        server.add("someone/clip", clip)
        server.add("someone/uiclip", {**weights, "README.md": b"MIT"})
        server.add(
            "someone/head", {"model.safetensors": (tmp_path / "head.safetensors").read_bytes(), "pytorch_model.bin": b"x"}
        )
        monkeypatch.setattr(model_loader, "_loader", None)
        model_loader.configure(get_catalog(), model_store(), probe_device("cpu"))
        yield server
    get_catalog.cache_clear()


def listed(client: Client, model_id: str) -> dict[str, Any]:
    return next(model for model in client.get("/api/models/").json() if model["id"] == model_id)


@pytest.mark.parametrize(("backend", "model"), [("clip", "clip-on-hub"), ("uiclip", "uiclip"), ("laion", "head-on-hub")])
def test_a_model_is_fetched_at_its_first_score(score: Callable[..., Job], hub: HubServer, backend: str, model: str) -> None:
    job = score({"image": encoded(poster()), "backend": backend, "model_id": model})
    assert job.result["model"] == model
    assert job.timings["load"] > 0
    assert not [name for name in hub.fetched() if name.endswith((".bin", ".md"))]


def test_preloading_a_model_fetches_what_it_stands_on(hub: HubServer, client: Client) -> None:
    assert not listed(client, "uiclip")["available"]
    out = StringIO()
    call_command("preload_models", "--models", "uiclip", "head-on-hub", stdout=out)
    assert [line.split(":")[0] for line in out.getvalue().splitlines()] == ["uiclip", "clip-on-hub", "head-on-hub"]
    assert all(listed(client, model)["available"] for model in ("uiclip", "clip-on-hub", "head-on-hub"))


def test_a_model_without_what_it_stands_on_is_not_available(hub: HubServer, client: Client) -> None:
    store = model_store()
    store.fetch(get_catalog().get("head-on-hub"))
    assert not listed(client, "head-on-hub")["available"]


def test_without_local_models_scorers_are_as_available_as_they_are(client: Client, settings: Any) -> None:
    settings.USE_LOCAL_MODELS = False
    assert listed(client, "starter-clip")["available"]
    assert not listed(client, "clip-vit-base-patch32")["available"]


def test_a_clip_is_loaded_and_unloaded_ahead_of_use(score: Callable[..., Job], loader: ModelLoader) -> None:
    assert score({}, "/api/models/tiny-clip/load/").result == {"model_id": "tiny-clip", "loaded": True}
    assert [model["id"] for model in loader.loaded()] == ["tiny-clip"]
    assert score({}, "/api/models/tiny-clip/unload/").result == {"model_id": "tiny-clip", "unloaded": True}
    assert loader.loaded() == []


def test_a_hub_that_is_away_is_the_jobs_error(post: Callable[..., Any], media: Path, hub: HubServer, settings: Any) -> None:
    from api.jobs.worker.loop import WorkerLoop

    settings.HF_ENDPOINT = "http://127.0.0.1:9"
    model_loader.configure(get_catalog(), model_store(), probe_device("cpu"))
    job = post({"image": encoded(poster()), "backend": "uiclip"}).json()["id"]
    WorkerLoop().run_once()
    assert Job.objects.get(pk=job).error["code"] == "offline"
