"""The engine while its model's files change: no picture is made by two models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.images.backends.engine.engine import Engine
from api.images.backends.engine.tasks import Task
from api.model_loader import ModelLoader
from tests.backends.recorder import request
from tests.backends.test_engine_equality import Hooks
from tests.models.tiny import build_tiny_sd


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_tiny_sd(tmp_path / "mine")


@pytest.fixture
def loader(folder: Path, tmp_path: Path) -> ModelLoader:
    entry = ModelEntry(id="mine", name="mine", family="sd1", path=folder, max_batch=4)
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(Catalog({"mine": entry}, {}), ModelStore(tmp_path / "models"), device)


def add_task(engine: Engine) -> list[Image.Image]:
    """Its picture, once it is made."""
    pictures: list[Image.Image] = []
    engine.add(Task(request(model_id="mine", steps=4), Hooks(), lambda number, picture: pictures.append(picture)))
    return pictures


def finish(engine: Engine) -> None:
    while engine.tasks:
        engine.step()


def whole(loader: ModelLoader) -> Image.Image:
    engine = Engine(loader, "mine")
    pictures = add_task(engine)
    finish(engine)
    engine.close()
    return pictures[0]


def same(one: Image.Image, other: Image.Image) -> bool:
    return bool((np.asarray(one) == np.asarray(other)).all())


def test_pictures_that_were_begun_end_with_the_old_weights_and_nobody_joins_them(loader: ModelLoader, folder: Path) -> None:
    before = whole(loader)
    engine = Engine(loader, "mine")
    pictures = add_task(engine)
    engine.step()
    assert engine.room == 3
    build_tiny_sd(folder, seed=1)
    assert engine.room == 0
    finish(engine)
    engine.close()
    assert same(pictures[0], before)
    assert not same(whole(loader), before)


def test_a_picture_whose_model_was_let_go_of_is_begun_anew(loader: ModelLoader, folder: Path) -> None:
    engine = Engine(loader, "mine")
    pictures = add_task(engine)
    engine.step()
    build_tiny_sd(folder, seed=1)
    engine.release()
    finish(engine)
    engine.close()
    assert len(pictures) == 1
    assert same(pictures[0], whole(loader))
