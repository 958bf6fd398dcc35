"""A server with something in it: workers, jobs and pictures of two owners."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from PIL import Image

from api.access.services import create_key
from api.files.services import create_file
from api.files.storage import write_image_files
from api.images.models import GeneratedImage
from api.jobs.models import Job, Worker
from api.jobs.states import Status
from config.catalog import get_catalog
from tests.models.tiny import build_tiny_sd

OUTSIDE = "203.0.113.9"
DEVICE = {
    "pytorch_version": "2.13.0",
    "cuda_available": True,
    "cuda_version": "13.0",
    "device_count": 1,
    "devices": [{"index": 0, "name": "A GPU"}],
    "device": {"type": "cuda", "index": 0, "name": "A GPU", "memory_total": 24 * 2**30},
    "dtype": "float16",
    "cpu": {"name": "A processor", "cores": 8, "threads": 8},
    "memory": {"total": 64 * 2**30, "available": 32 * 2**30},
}
LOADED = [{"id": "starter", "bytes": 24_000_000, "pinned": False, "last_used": 1.0, "measures": []}]
OWN_CATALOG = """
[models."tiny/one"]
path = "tiny"
family = "sd1"
default_size = 64
[models.gone]
path = "gone"
family = "sd1"
[adapters.bold]
path = "bold.safetensors"
base = ["tiny/one"]
"""
MakeJob = Callable[..., Job]


@pytest.fixture
def outside() -> Client:
    """A client on another machine."""
    return Client(REMOTE_ADDR=OUTSIDE)


@pytest.fixture
def make_worker(db: None) -> Callable[..., Worker]:
    def make(*, silent_for: timedelta = timedelta(0), **fields: Any) -> Worker:
        known = {"hostname": "here", "pid": 1, "state": Worker.State.IDLE, "device": DEVICE, "loaded_models": LOADED}
        worker = Worker.objects.create(**{**known, **fields})
        Worker.objects.filter(pk=worker.pk).update(heartbeat_at=Now() - silent_for)
        return worker

    return make


@pytest.fixture
def make_job(db: None) -> MakeJob:
    """A row as it is: no worker has to run for it."""

    def make(**fields: Any) -> Job:
        return Job.objects.create(
            **{"kind": "load_model", "owner_key": "local", "model_id": "starter", "status": Status.QUEUED, **fields}
        )

    return make


@pytest.fixture
def make_picture(make_job: MakeJob) -> Callable[[str], GeneratedImage]:
    def make(owner_key: str) -> GeneratedImage:
        job = make_job(kind="txt2img", owner_key=owner_key, status=Status.SUCCEEDED, result={"images": [], "candidates": []})
        image = Image.new("RGB", (8, 8))
        written = write_image_files(b"\x89PNG", image, "png")
        fields = {
            "model_id": "starter",
            "prompt": "a lake",
            "seed": 1,
            "steps": 1,
            "guidance_scale": 1.0,
            "width": 8,
            "height": 8,
        }
        file = create_file(written, owner_key=owner_key, purpose="output")
        return GeneratedImage.objects.create(file=file, job=job, index=0, owner_key=owner_key, **fields)

    return make


@pytest.fixture
def staff(db: None) -> dict[str, str]:
    """The headers of a staff key."""
    return bearer(create_key(name="the owner", scopes=["staff"])[1])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def own_catalog(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """Two models of the owner's: one that is here, and one whose folder is missing."""
    build_tiny_sd(tmp_path / "tiny")
    file = tmp_path / "catalog.toml"
    file.write_text(OWN_CATALOG)
    settings.CATALOG_EXTRA, settings.MODELS_DIR = file, tmp_path / "models"
    get_catalog.cache_clear()
    yield file
    get_catalog.cache_clear()


def listed_model(client: Client, model_id: str) -> dict[str, Any]:
    return next(model for model in client.get("/api/models/").json() if model["id"] == model_id)
