"""Small upscalers in a catalog, and a worker that the test runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from safetensors.torch import save_file

from api import model_loader
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.jobs.models import Job
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.upscaling.networks import rrdbnet, srvgg, write
from tests.vision.conftest import ASYNC, work

PATH = "/api/upscale/"


@pytest.fixture(scope="session")
def upscaler_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upscalers")
    write(folder / "rrdb.safetensors", rrdbnet())
    write(folder / "srvgg.safetensors", srvgg(2))
    lacking = dict(rrdbnet().state_dict())
    del lacking["conv_hr.bias"]
    save_file(lacking, folder / "lacking.safetensors")
    names = ("rrdb", "srvgg", "lacking", "gone")
    tables = [f'[models."tiny-{name}"]\npath = "{name}.safetensors"\ntask = "upscaling"' for name in names]
    (folder / "catalog.toml").write_text("\n".join(tables))
    return folder / "catalog.toml"


@pytest.fixture
def loader(upscaler_catalog: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.CATALOG_EXTRA, settings.MEDIA_ROOT = upscaler_catalog, tmp_path / "media"
    get_catalog.cache_clear()
    monkeypatch.setattr(model_loader, "_loader", None)
    yield model_loader.configure(get_catalog(), ModelStore(tmp_path / "models"), probe_device("cpu"))
    get_catalog.cache_clear()


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """POST without waiting for the result."""
    return lambda body, path=PATH: client.post(path, body, content_type="application/json", headers=ASYNC)


@pytest.fixture
def upscale(post: Callable[..., Any], loader: ModelLoader) -> Callable[..., Job]:
    """POST, let a worker do it, and give the finished job, however it ended."""

    def send(path: str = PATH, **fields: Any) -> Job:
        reply = post(fields, path)
        assert reply.status_code == 202, reply.content
        work()
        return Job.objects.get(pk=reply.json()["id"])

    return send
