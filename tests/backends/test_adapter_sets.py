"""Jobs with several sets of adapters on one model, at once: sessions of the worker take the model in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from api.catalog import AdapterEntry
from api.files.services import open_image
from api.images.backends.adapters import remove_adapters
from api.images.models import GeneratedImage
from api.images.spec import LoraUse, Txt2ImgSpec
from api.jobs import lifecycle
from api.jobs.models import Job
from api.jobs.worker.loop import WorkerLoop
from api.model_loader import ModelLoader
from tests.backends.conftest import MakeLoader
from tests.backends.lora_files import layers_of, make_factors, write_kohya
from tests.backends.test_lora_forms import make_file

pytestmark = [pytest.mark.django_db, pytest.mark.models]
SETS = ((), ("lora",), ("lokr", "dora"), ("full",))


@pytest.fixture
def loader(make_loader: MakeLoader, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Iterator[ModelLoader]:
    settings.USE_LOCAL_MODELS, settings.PROMPT_SCORES, settings.MEDIA_ROOT = True, False, tmp_path
    loader = make_loader(torch.float32)
    with loader.use("sd1", "text-to-image") as lease:
        remove_adapters(lease.pipeline)
        factors = make_factors(layers_of(lease.pipeline))
        files = {"lora": write_kohya(tmp_path / "lora.safetensors", factors, lambda number, rank: (1.0, 4.0)[number % 2])}
        files |= {
            name: make_file(tmp_path, lease.pipeline, form)[0]
            for name, form in {"lokr": "LoKr", "dora": "DoRA", "full": "full"}.items()
        }
    adapters = {name: AdapterEntry(id=name, name=name, family="sd1", path=file) for name, file in files.items()}
    monkeypatch.setattr(loader, "catalog", dataclasses.replace(loader.catalog, adapters=adapters))
    monkeypatch.setattr("api.model_loader.get_loader", lambda: loader)
    monkeypatch.setattr("api.images.handler.get_catalog", lambda: loader.catalog)
    monkeypatch.setattr("api.jobs.worker.loop.TURN_SECONDS", 0.01)
    yield loader
    with loader.use("sd1", "text-to-image") as lease:
        remove_adapters(lease.pipeline)


@pytest.fixture
def loop(loader: ModelLoader) -> Iterator[WorkerLoop]:
    loop = WorkerLoop()
    yield loop
    for key in list(loop.sessions):
        loop.close_session(key)


def submit(number: int) -> Job:
    loras = tuple(LoraUse(id=name, weight=0.5) for name in SETS[number % 4])
    spec = Txt2ImgSpec(
        prompt=f"a red circle {number}",
        model_id="sd1",
        width=64,
        height=64,
        steps=3 + number % 3,
        guidance_scale=5.0,
        seed=number,
        loras=loras,
    )
    return lifecycle.submit_job(spec=spec, owner_key=f"owner {number}")


def make(loop: WorkerLoop, numbers: list[int]) -> list[np.ndarray[Any, Any]]:
    jobs = [submit(number) for number in numbers]
    while loop.run_once():
        pass
    for job in jobs:
        job.refresh_from_db()
    assert [job.status for job in jobs] == ["succeeded"] * len(jobs)
    assert all(job.warnings == [] for job in jobs)
    return [np.asarray(open_image(GeneratedImage.objects.get(job=job).file)) for job in jobs]


def test_sixteen_requests_with_four_sets_give_each_its_picture_and_leave_the_model_as_it_was(loop: WorkerLoop) -> None:
    [before] = make(loop, [0])
    alone = [make(loop, [number])[0] for number in range(16)]

    together = make(loop, list(range(16)))

    assert all(np.abs(one.astype(int) - other.astype(int)).max() <= 1 for one, other in zip(together, alone, strict=True))
    assert len({picture.tobytes() for picture in alone}) == 16
    [after] = make(loop, [0])
    assert after.tobytes() == before.tobytes()
