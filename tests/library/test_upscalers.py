"""Upscalers in the library: named in requests by id, file name or path, listed, refused with the reason."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api.library.scan import scan_library
from config.catalog import get_catalog
from tests.library.files import UPSCALER, row_of, write_checkpoint, write_file
from tests.upscaling.networks import rrdbnet, write
from tests.vision.conftest import ASYNC, blank, encoded

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/api/upscale/"


@pytest.fixture
def filled(library: Path) -> Path:
    write(library / "models" / "ESRGAN" / "4x Mine.safetensors", rrdbnet())
    write_file(library / "models" / "ESRGAN" / "swin.safetensors", {"layers.0.residual_group.blocks.0.norm1.weight": (60,)})
    write_checkpoint(library / "models" / "Stable-diffusion" / "photo.safetensors")
    scan_library()
    return library


@pytest.mark.parametrize("name", ["4x-Mine", "4x Mine", "4x Mine.safetensors"])
def test_a_file_is_named_as_people_name_it(filled: Path, client: Client, name: str) -> None:
    reply = client.post(PATH, {"image": encoded(blank()), "model_id": name}, content_type="application/json", headers=ASYNC)
    assert reply.status_code == 202, reply.content
    entry = get_catalog().get(reply.json()["params"]["model_id"])
    assert (entry.task, entry.family, entry.single_file) == ("upscaling", "rrdbnet", True)


def test_it_makes_no_pictures_and_a_checkpoint_enlarges_none(filled: Path, client: Client) -> None:
    def refused(path: str, body: dict[str, Any]) -> str:
        [error] = client.post(path, body, content_type="application/json").json()["errors"]
        assert (error["field"], error["code"]) == ("model_id", "wrong_task"), error
        return str(error["detail"])

    assert "its task is upscaling" in refused(
        "/api/txt2img/", {"prompt": "x", "model_id": row_of("4x Mine.safetensors").entry_id}
    )
    assert "its task is text-to-image" in refused(PATH, {"image": encoded(blank()), "model_id": "photo"})


def test_another_architecture_is_refused_with_the_reason(filled: Path, client: Client) -> None:
    reply = client.post(PATH, {"image": encoded(blank()), "model_id": "swin"}, content_type="application/json")
    [error] = reply.json()["errors"]
    assert "RRDBNet (ESRGAN, Real-ESRGAN) and SRVGGNetCompact" in error["detail"]


def test_the_list_shows_them_beside_those_of_the_catalog(filled: Path, client: Client) -> None:
    listed = {model["id"]: model for model in client.get("/api/models/?kind=upscaler").json()}
    mine = row_of("4x Mine.safetensors").entry_id
    assert {"lanczos", "nearest", "starter-upscaler", mine, row_of("swin.safetensors").entry_id} == listed.keys()
    assert (listed[mine]["task"], listed[mine]["usable"], listed["lanczos"]["available"]) == ("upscaling", True, True)
    assert mine in {model["id"] for model in client.get("/api/models/").json()}


def test_a_file_of_esrgans_first_release_is_known(library: Path) -> None:
    write_file(library / "old.safetensors", UPSCALER)
    scan_library()
    assert (row_of("old.safetensors").kind, row_of("old.safetensors").is_usable) == ("upscaler", True)
