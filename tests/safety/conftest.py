"""A small model for pictures, and a worker that the test runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api import model_loader
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.jobs.models import Job
from api.model_loader import ModelLoader
from api.safety.pictures.policy import key_checks
from api.safety.rules.screening import active_rules
from config.catalog import get_catalog
from tests.models.tiny import build_tiny_sd
from tests.safety.tiny_classifiers import build_classifier
from tests.vision.conftest import ASYNC, work

CATALOG = """
[models.tiny]
name = "Tiny"
family = "sd1"
path = "{model}"
default_size = 64
default_steps = 2
default_guidance_scale = 3.0

[models.tiny-check]
name = "Tiny check"
task = "image-classification"
path = "{check}"
"""


@pytest.fixture(scope="session")
def catalog_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("safety")
    file = folder / "catalog.toml"
    file.write_text(CATALOG.format(model=build_tiny_sd(folder / "tiny"), check=build_classifier(folder / "check")))
    return file


@pytest.fixture
def loader(catalog_file: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.CATALOG_EXTRA, settings.MEDIA_ROOT = catalog_file, tmp_path / "media"
    settings.DEFAULT_IMAGE_MODEL, settings.PROMPT_SCORES = "tiny", False
    settings.PICTURE_CHECK_MODEL = "tiny-check"
    get_catalog.cache_clear()
    monkeypatch.setattr(model_loader, "_loader", None)
    yield model_loader.configure(get_catalog(), ModelStore(tmp_path / "models"), probe_device("cpu"))
    get_catalog.cache_clear()


@pytest.fixture
def run(client: Client, loader: ModelLoader) -> Callable[..., Job]:
    """POST, let a worker do it, and give the finished job, however it ended."""

    def send(path: str = "/api/txt2img/", **fields: Any) -> Job:
        reply = client.post(path, fields, content_type="application/json", headers=ASYNC)
        assert reply.status_code == 202, reply.content
        work()
        return Job.objects.get(pk=reply.json()["id"])

    return send


@pytest.fixture(autouse=True)
def no_rules_of_other_tests() -> Iterator[None]:
    """A process keeps rules for two seconds, and a test that is rolled back tells it nothing."""
    yield
    active_rules.forget()
    key_checks.forget()
