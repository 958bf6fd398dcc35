"""Small detectors in a catalog, ways to send pictures, and a worker that the test runs."""

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api import model_loader
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from config.catalog import get_catalog
from tests.vision.tiny_detectors import (
    FAMILIES,
    OPEN_FAMILIES,
    SIDE,
    build_detector,
    build_red_finder,
    build_yolo,
    raw_output,
    selected_output,
)

ASYNC = {"Prefer": "respond-async"}
CAT, DOG, BUS = ((8, 8, 40, 40), 0, 0.9), ((30, 20, 60, 50), 1, 0.6), ((0, 0, 20, 20), 2, 0.3)
CAT_AGAIN = ((9, 9, 41, 41), 0, 0.8)
"""What the models in ONNX find in every picture, in pixels of their input."""


@pytest.fixture(scope="session")
def detector_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalog's file, its models beside it."""
    folder = tmp_path_factory.mktemp("detectors")
    for family in FAMILIES:
        build_detector(folder / family, family)
    for family, build in OPEN_FAMILIES.items():
        build(folder / family)
    build_yolo(folder / "yolo" / "best.onnx", raw_output(CAT, DOG, BUS, CAT_AGAIN))
    build_yolo(folder / "yolo-selected" / "best.onnx", selected_output(CAT, DOG, BUS))
    build_red_finder(folder / "red" / "best.onnx")
    entries = [
        *(entry(family, "object-detection") for family in (*FAMILIES, "yolo", "yolo-selected", "red")),
        *(entry(family, "zero-shot-object-detection") for family in OPEN_FAMILIES),
    ]
    (folder / "catalog.toml").write_text("\n".join(entries))
    return folder / "catalog.toml"


def entry(name: str, task: str, path: str = "", **fields: str) -> str:
    more = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return f'[models."tiny-{name}"]\npath = "{path or name}"\ntask = "{task}"\ndefault_size = {SIDE}\n{more}'


@pytest.fixture
def loader(detector_catalog: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    yield from loader_of(detector_catalog, settings, tmp_path, monkeypatch)


def loader_of(catalog: Path, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelLoader]:
    settings.CATALOG_EXTRA = catalog
    settings.DEFAULT_DETECTION_MODEL = "tiny-yolo"
    settings.MEDIA_ROOT = tmp_path / "media"
    get_catalog.cache_clear()
    monkeypatch.setattr(model_loader, "_loader", None)
    yield model_loader.configure(get_catalog(), ModelStore(tmp_path / "models"), probe_device("cpu"))
    get_catalog.cache_clear()


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def blank(size: tuple[int, int] = (SIDE, SIDE), colour: Any = "white") -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """POST without waiting for the result."""

    def send(body: dict[str, Any], path: str = "/api/detect/", **headers: str) -> Any:
        return client.post(path, body, content_type="application/json", headers={**ASYNC, **headers})

    return send


def work() -> None:
    """A worker does all that waits."""
    loop = WorkerLoop()
    while loop.run_once():
        pass
    loop.end()  # else the next one's jobs are left to it, for PLACEMENT_SECONDS, as the worker that holds their model


@pytest.fixture
def run(post: Callable[..., Any], loader: ModelLoader) -> Callable[..., Job]:
    """POST, let a worker do it, and give the finished job, however it ended."""

    def send(body: dict[str, Any] | None = None, path: str = "/api/detect/", **fields: Any) -> Job:
        reply = post({"image": encoded(blank()), **(body or {}), **fields}, path)
        assert reply.status_code == 202, reply.content
        work()
        return Job.objects.get(pk=reply.json()["id"])

    return send


@pytest.fixture
def detect(run: Callable[..., Job]) -> Callable[..., Job]:
    """As `run`, of a job that succeeds."""

    def send(body: dict[str, Any] | None = None, **fields: Any) -> Job:
        job = run(body, **fields)
        assert job.status == "succeeded", job.error
        return job

    return send
