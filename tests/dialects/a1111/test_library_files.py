"""Requests that name files of the library, as A1111's clients name them."""

import base64
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from api.files.storage import read_bytes
from api.images.output_sinks import GeneratedPicture
from api.images.pictures import file_notes, save_picture
from api.jobs.models import Job
from api.jobs.worker.endings import start_running
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.dialects.a1111.test_translation import job_for
from tests.library.conftest import library  # noqa: F401  # a fixture
from tests.library.files import EMBEDDING, row_of, write_checkpoint, write_file, write_lora, write_xl

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def files(library: Path) -> Path:  # noqa: F811
    write_checkpoint(library / "photo.safetensors")
    write_xl(library / "wide.safetensors")
    write_lora(library / "small detail.safetensors")
    write_lora(library / "large detail.safetensors", width=2048)
    write_file(library / "bad-hands-5.safetensors", EMBEDDING)
    scan_library()
    hash_rows(LibraryFile.objects.unhashed())
    return library


def titles(client: Client) -> dict[str, str]:
    return {one["model_name"]: one["title"] for one in client.get("/sdapi/v1/sd-models").json()}


def test_a_checkpoint_by_its_title_its_name_or_its_hash(client: Client, files: Path) -> None:
    row = row_of("photo.safetensors")
    for name in (titles(client)["photo"], "photo.safetensors", "photo", row.autov2, row.entry_id):
        job = job_for(client, override_settings={"sd_model_checkpoint": name})
        assert job.model_id == row.entry_id, name


def test_a_checkpoint_that_was_chosen_stays_chosen(client: Client, files: Path) -> None:
    client.post("/sdapi/v1/options", {"sd_model_checkpoint": titles(client)["wide"]}, content_type="application/json")
    assert job_for(client).model_id == row_of("wide.safetensors").entry_id
    assert job_for(client, override_settings={"sd_model_checkpoint": "photo"}).model_id == row_of("photo.safetensors").entry_id


def test_what_fits_another_model_is_left_out_and_said(client: Client, files: Path) -> None:
    chosen: dict[str, Any] = {"override_settings": {"sd_model_checkpoint": "photo"}}
    job = job_for(client, prompt="a lake <lora:small detail:0.5> <lora:large detail:1>", **chosen)
    assert [lora["weight"] for lora in job.params["loras"]] == [0.5]
    [warning] = job.warnings
    assert "large detail" in warning
    assert job_for(client, negative_prompt="bad-hands-5", **chosen).warnings == []
    [warning] = job_for(client, negative_prompt="bad-hands-5", override_settings={"sd_model_checkpoint": "wide"}).warnings
    assert warning.endswith("Its name was read as words.")


def test_the_info_names_the_model_and_its_hash(client: Client, files: Path) -> None:
    """Of a job that has ended, without the weights that it would need."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": "once"}
    body = {"prompt": "a lake", "override_settings": {"sd_model_checkpoint": "photo"}}
    client.post("/sdapi/v1/txt2img", body, content_type="application/json", headers=headers)
    image = {"id": "0197c0de-0000-7000-8000-000000000000", "width": 512, "height": 512, "seed": 3}
    Job.objects.update(status="succeeded", result={"images": [image], "candidates": []})
    told = client.post("/sdapi/v1/txt2img", body, content_type="application/json", headers={"Idempotency-Key": "once"}).json()
    autov2 = row_of("photo.safetensors").autov2
    assert told["images"] == []  # its file isn't there
    assert f'"sd_model_name": "photo", "sd_model_hash": "{autov2}"' in told["info"]
    assert f"Model hash: {autov2}" in told["info"]


def test_the_file_of_a_picture_says_the_models_hash_too(client: Client, files: Path) -> None:
    """As a worker writes it; read back, it is the same model."""
    row = row_of("photo.safetensors")
    job = job_for(client, override_settings={"sd_model_checkpoint": "photo"})
    run = start_running(job)
    made = GeneratedPicture(Image.new("RGB", (64, 64)), run.spec.seed)
    file = save_picture(run, made, file_notes(run.spec))
    sent = {"image": base64.b64encode(read_bytes(file.name)).decode()}
    told = client.post("/sdapi/v1/png-info", sent, content_type="application/json").json()
    assert told["parameters"]["Model hash"] == row.autov2
    found = client.post("/api/png-info/", sent, content_type="application/json").json()
    assert (found["source"], found["request"]["model_id"], found["warnings"]) == ("darkroom", row.entry_id, [])
