"""What other servers' clients send as further pictures, and as units of IP-Adapters: image prompts of the request here."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from api.jobs.models import Job
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.api.bodies import ASYNC, png
from tests.dialects.a1111.conftest import encoded
from tests.dialects.a1111.test_translation import controls, job_for, refused
from tests.library.conftest import library  # noqa: F401  # a fixture
from tests.library.files import row_of, write_checkpoint, write_file
from tests.library.test_ip_adapters import BASE, adapter, encoder

pytestmark = pytest.mark.django_db(transaction=True)
SQUARE = encoded(Image.new("RGB", (64, 64), "blue"))
PHOTO = {"override_settings": {"sd_model_checkpoint": "photo"}}


@pytest.fixture
def photo(library: Path) -> Path:  # noqa: F811
    write_checkpoint(library / "photo.safetensors")
    scan_library()
    return library


@pytest.fixture
def with_adapter(photo: Path) -> Path:
    write_file(photo / "ipadapter" / "ip-adapter_mine.safetensors", adapter(BASE))
    write_file(photo / "clip_vision" / "huge.safetensors", encoder())
    scan_library()
    hash_rows(LibraryFile.objects.unhashed())
    return photo


def edit(client: Client, *fields: Any, **data: Any) -> Any:
    files = [SimpleUploadedFile("image.png", png(number)) for number in range(3)]
    return client.post(
        "/v1/images/edits", {"prompt": "a lake", "model": "photo", "size": "64x64", "image[]": files, **data}, headers=ASYNC
    )


def test_of_several_pictures_the_first_is_edited_and_the_others_are_prompts(client: Client, with_adapter: Path) -> None:
    reply = edit(client)
    assert reply.status_code == 202, reply.content
    job = Job.objects.get()
    assert [use["model_id"] for use in job.params["ip_adapter"]] == ["ip-adapter_mine"] * 2
    assert len({job.params["image"], *(use["image"] for use in job.params["ip_adapter"])}) == 3
    assert "Of 3 pictures the first is edited; the others are image prompts (ip_adapter)." in job.warnings


def test_what_is_wrong_with_a_further_picture_is_told_by_its_field(client: Client, with_adapter: Path) -> None:
    files = [SimpleUploadedFile("image.png", png(number)) for number in range(6)]
    for sent in (files, [files[0], SimpleUploadedFile("image.png", b"none")]):
        reply = edit(client, **{"image[]": sent})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "image"), reply.content


def test_without_an_adapter_that_is_here_several_pictures_are_too_many(client: Client, photo: Path) -> None:
    reply = edit(client)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "too_many_images")


@pytest.mark.parametrize(
    ("module", "model"),
    [("ip-adapter_clip_sd15", "ip-adapter_mine [0123456789]"), ("ip-adapter-auto", "None"), ("none", "ip-adapter_mine")],
)
def test_a_unit_of_an_ip_adapter_is_an_image_prompt(client: Client, with_adapter: Path, module: str, model: str) -> None:
    unit = {"image": SQUARE, "module": module, "model": model, "weight": 0.5, "guidance_end": 0.7}
    job = job_for(client, **PHOTO, **controls(unit, {**unit, "module": "canny", "model": "None", "enabled": False}))
    [use] = job.params["ip_adapter"]
    assert (use["model_id"], use["weight"], job.params["control"]) == ("ip-adapter_mine", 0.5, [])
    assert any("guidance_end has no effect" in warning for warning in job.warnings)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"module": "ip-adapter_face_id_plus"}, "module"),
        ({"model": "nothing"}, "model"),
        ({"model": "photo"}, "model"),
        ({"image": ""}, "image"),
        ({"weight": 9}, "weight"),
    ],
)
def test_a_unit_that_can_t_be_is_refused_by_its_place(
    client: Client, with_adapter: Path, fields: dict[str, Any], place: str
) -> None:
    unit = {"image": SQUARE, "module": "ip-adapter-auto", "model": "None", **fields}
    status, body = refused(client, **PHOTO, **controls(unit))
    assert status == 422
    assert body["detail"][0]["loc"] == ["body", "alwayson_scripts", "controlnet", "args", 0, place]


def test_the_extensions_lists_name_what_its_units_may(client: Client, with_adapter: Path) -> None:
    models = client.get("/controlnet/model_list").json()["model_list"]
    assert f"ip-adapter_mine [{row_of('ip-adapter_mine.safetensors').autov2}]" in models
    modules = client.get("/controlnet/module_list").json()["module_list"]
    for module in modules:
        unit = {"image": SQUARE, "module": module, "model": "ip-adapter_mine" if "ip-" in module else "starter-control"}
        fits = PHOTO if "ip-" in module else {}
        assert job_for(client, **fits, **controls(unit)).params["ip_adapter" if "ip-" in module else "control"], module
    assert json.loads(client.get("/controlnet/settings").content) == {"control_net_unit_count": 4}
