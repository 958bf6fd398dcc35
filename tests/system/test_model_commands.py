"""preload_models against a local hub, and generate with a real small model."""

import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from PIL import Image

from api import model_loader
from api.images.models import GeneratedImage
from api.jobs.models import Job, Worker
from api.system.selectors import model_store
from config.catalog import get_catalog
from tests.interrupting import ctrl_c_as_a_transaction_ends
from tests.models.hub_server import HubServer
from tests.models.tiny import build_tiny_sd

pytestmark = [pytest.mark.models, pytest.mark.django_db(transaction=True)]
ON_THE_HUB = """
[models.one]
repo = "someone/one"
family = "sd1"
[models.two]
repo = "someone/two"
family = "sd1"
[models.locked]
repo = "someone/locked"
family = "sd1"
gated = true
"""


def run(*command: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*command, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


# ---------------------------------------------------------------- preload_models


@pytest.fixture
def hub(tmp_path: Path, settings: Any) -> Iterator[HubServer]:
    """A hub with two models and one that is gated."""
    file = tmp_path / "catalog.toml"
    file.write_text(ON_THE_HUB)
    checkpoint = build_tiny_sd(tmp_path / "checkpoint")
    get_catalog.cache_clear()
    with HubServer().running() as server:
        settings.CATALOG_EXTRA, settings.MODELS_DIR, settings.HF_ENDPOINT = file, tmp_path / "models", server.endpoint
        server.add("someone/one", checkpoint)
        server.add("someone/two", checkpoint)
        server.add("someone/locked", checkpoint, token="hf_right")
        yield server
    get_catalog.cache_clear()


def is_here(model_id: str) -> bool:
    return model_store().folder(get_catalog().get(model_id)) is not None


def test_preloading_fetches_models_and_says_what_each_takes(hub: HubServer) -> None:
    out, _ = run("preload_models", "--models", "one", "someone/two")
    assert is_here("one")
    assert is_here("two")
    assert [line.split()[:4] for line in out.splitlines()] == [["one:", "here,", "0.00", "GB"], ["two:", "here,", "0.00", "GB"]]


def test_preloading_again_asks_the_hub_for_nothing(hub: HubServer) -> None:
    run("preload_models", "--models", "one")
    hub.seen.clear()
    run("preload_models", "--models", "one")
    assert hub.seen == []


def test_one_that_fails_does_not_stop_the_others(hub: HubServer) -> None:
    err = StringIO()
    with pytest.raises(CommandError, match="1 of 2 are not here: locked"):
        call_command("preload_models", "--models", "locked", "one", stdout=StringIO(), stderr=err)
    assert is_here("one")
    assert "HF_TOKEN" in err.getvalue()


def test_an_unknown_model_is_named_before_anything_is_fetched(hub: HubServer) -> None:
    with pytest.raises(CommandError, match="There is no model 'onn'"):
        run("preload_models", "--models", "two", "onn")
    assert hub.seen == []


# ---------------------------------------------------------------- generate


@pytest.fixture
def no_worker(own_catalog: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default model that is small, and nobody to run it but the command itself."""
    monkeypatch.setenv("DARKROOM_WORKER", "")
    monkeypatch.setattr(model_loader, "_loader", None)
    settings.DEFAULT_IMAGE_MODEL = "tiny/one"


@pytest.mark.usefixtures("no_worker")
def test_generate_makes_a_picture_by_itself_and_keeps_it_in_the_history(tmp_path: Path) -> None:
    place = tmp_path / "new folder" / "lake.jpg"
    out, _ = run("generate", "a lake", "--steps", "2", "--seed", "7", "--out", str(place))
    with Image.open(place) as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))
    assert out == f"{place}  64x64, seed 7\n"
    picture = GeneratedImage.objects.get()
    assert (picture.prompt, picture.seed, picture.job.status, picture.owner_key) == ("a lake", 7, "succeeded", "local")
    assert not Worker.objects.exclude(state=Worker.State.STOPPED).exists()


@pytest.mark.usefixtures("no_worker")
def test_a_process_supervises_again_once_its_command_has_ended(tmp_path: Path) -> None:
    run("generate", "a lake", "--steps", "1", "--out", str(tmp_path / "lake.png"))
    assert os.environ["DARKROOM_WORKER"] == ""


@pytest.mark.usefixtures("no_worker")
def test_generate_numbers_several_pictures(tmp_path: Path) -> None:
    run("generate", "a lake", "--steps", "1", "--number", "2", "--size", "64x72", "--out", str(tmp_path / "lake.png"))
    for name in ("lake-1.png", "lake-2.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size == (64, 72)


@pytest.mark.usefixtures("no_worker")
def test_generate_names_what_is_wrong_before_it_starts_anything() -> None:
    with pytest.raises(CommandError, match="steps: "):
        run("generate", "a lake", "--steps", "0")
    assert not Job.objects.exists()
    assert not Worker.objects.exists()


@pytest.mark.usefixtures("no_worker")
def test_generate_is_cancelled_by_a_ctrl_c_where_a_transaction_ends(tmp_path: Path) -> None:
    """The first is the one that submits the job."""
    with ctrl_c_as_a_transaction_ends(1), pytest.raises(CommandError, match=r"Cancelled\.") as cancelled:
        run("generate", "a lake", "--steps", "150", "--out", str(tmp_path / "lake.png"))
    assert cancelled.value.returncode == 130
    assert Job.objects.get().is_final
    assert not (tmp_path / "lake.png").exists()


@pytest.mark.usefixtures("no_worker")
def test_generate_says_why_a_job_failed() -> None:
    with pytest.raises(CommandError, match="gone"):
        run("generate", "a lake", "--model", "gone")
    assert Job.objects.get().status == "failed"
