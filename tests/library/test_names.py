"""How requests name files of the library: by id, by file name, by path, by hash; and what they are told where that fails."""

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from api.catalog import ModelEntry, UnknownAdapter, UnknownEntry, UnknownModel
from api.jobs.models import Job
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from config.catalog import get_catalog
from tests.library.files import EMBEDDING, PICKLE, VAE, write_bytes, write_checkpoint, write_file, write_lora, write_xl

EMOJI = "my model (v2) 🎨.safetensors"


@pytest.fixture
def filled(library: Path) -> Path:
    write_checkpoint(library / "SD15" / EMOJI)
    write_xl(library / "XL" / "wide.safetensors", modelspec__title="anything")
    write_lora(library / "ink.safetensors", modelspec__trigger_phrase="ink wash")
    write_lora(library / "wide-ink.safetensors", 2048)
    write_file(library / "easy.safetensors", EMBEDDING)
    write_bytes(library / "old.ckpt", PICKLE)
    for folder in ("a", "b"):
        write_checkpoint(library / folder / "twin.safetensors")
    scan_library()
    return library


@pytest.mark.parametrize(
    "name",
    ["my-model-v2", EMOJI, "my model (v2) 🎨", f"SD15/{EMOJI}", "SD15/my model (v2) 🎨", f"SD15\\{EMOJI}"],
)
def test_a_model_is_found_by_each_of_its_names(filled: Path, name: str) -> None:
    entry = get_catalog().get(name)
    assert (entry.id, entry.path, entry.single_file, entry.family) == ("my-model-v2", filled / "SD15" / EMOJI, True, "sd1")


@pytest.mark.parametrize("name", ["", "sd15/" + EMOJI, "../library/SD15/" + EMOJI, "x" * 5000, "\x00", "%", "_", "🎨"])
def test_other_names_find_nothing(filled: Path, name: str) -> None:
    with pytest.raises(UnknownModel):
        get_catalog().get(name)


def test_a_model_is_found_by_its_hashes(filled: Path) -> None:
    hash_rows(LibraryFile.objects.unhashed())
    row = LibraryFile.objects.get(entry_id="wide")
    for digits in (row.sha256, row.autov2, row.autov3, row.autov2.upper()):
        assert get_catalog().get(digits).id == "wide"


def test_a_name_of_two_files_is_refused_with_their_ids(filled: Path) -> None:
    with pytest.raises(
        UnknownModel, match=r"^'twin.safetensors' is the name of several files\. Name one by its id: twin, twin-"
    ):
        get_catalog().get("twin.safetensors")
    assert get_catalog().get("twin").path == filled / "a" / "twin.safetensors"


def test_adapters_and_embeddings_are_found_for_their_family(filled: Path) -> None:
    catalog = get_catalog()
    assert catalog.adapter("ink.safetensors").trigger == "ink wash"
    assert [adapter.id for adapter in catalog.adapters_for("my-model-v2") if adapter.path] == ["ink"]
    assert [adapter.id for adapter in catalog.adapters_for("wide") if adapter.path] == ["wide-ink"]
    assert [entry.id for entry in catalog.embeddings_for("my-model-v2")] == ["easy"]
    assert catalog.find_embedding("horse") is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("old.ckpt", "'old.ckpt' can't be used: It is a pickle"),
        ("ink", "'ink' is a LoRA, which goes into `loras`."),
        ("easy", "'easy' is an embedding, which is named in the prompt."),
        ("my-mod", "There is no model 'my-mod'. Did you mean my-model-v2?"),
    ],
)
def test_what_is_no_usable_model_is_told_as_such(filled: Path, name: str, sentence: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        get_catalog().get(name)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("name", ["fine", "fine.safetensors", "VAE/fine.safetensors"])
def test_an_entry_names_a_vae_of_the_library(library: Path, name: str) -> None:
    vae = write_file(library / "VAE" / "fine.safetensors", VAE)
    scan_library()
    assert get_catalog().with_files(ModelEntry(id="mine", name="Mine", vae=name)).vae == str(vae)
    assert get_catalog().with_files(ModelEntry(id="mine", name="Mine", vae=str(vae))).vae == str(vae)


def test_an_entry_names_text_encoders_of_the_library(library: Path) -> None:
    shapes = {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
    file = write_file(library / "clip" / "t5xxl_fp16.safetensors", shapes)
    scan_library()
    entry = get_catalog().with_files(ModelEntry(id="mine", name="Mine", text_encoders=("t5xxl_fp16.safetensors",)))
    assert entry.text_encoders == (str(file),)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ink", "'ink' is a LoRA, which goes into `loras`."),
        ("fin", "There is no VAE 'fin'. Did you mean fine?"),
        ("same.safetensors", "'same.safetensors' is the name of several files. Name one by its id: same, same-"),
        ("/nowhere/fine.safetensors", "There is no VAE '/nowhere/fine.safetensors'."),
    ],
)
def test_a_vae_that_is_none_is_told_as_such(library: Path, name: str, sentence: str) -> None:
    write_lora(library / "ink.safetensors")
    for file in ("fine", "a/same", "b/same"):
        write_file(library / f"{file}.safetensors", VAE)
    scan_library()
    with pytest.raises(UnknownEntry) as caught:
        get_catalog().with_files(ModelEntry(id="mine", name="Mine", vae=name))
    assert str(caught.value).startswith(sentence)


def test_a_file_that_vanished_since_the_scan_is_told_as_such(filled: Path) -> None:
    (filled / "ink.safetensors").unlink()
    with pytest.raises(UnknownAdapter, match=r"The file ink\.safetensors is not there any more"):
        get_catalog().adapter("ink")


def test_a_new_file_is_known_without_a_restart(filled: Path) -> None:
    catalog = get_catalog()
    write_checkpoint(filled / "newest.safetensors")
    scan_library()
    assert catalog.get("newest").id == "newest"


def test_a_table_of_the_catalog_comes_first_and_hides_no_file(library: Path) -> None:
    write_checkpoint(library / "starter.safetensors")
    scan_library()
    assert get_catalog().get("starter").source == "built-in"
    assert get_catalog().get("starter.safetensors").source == "library"
    assert get_catalog().get(LibraryFile.objects.get().entry_id).source == "library"


def test_without_a_library_the_database_is_not_asked(db: None, settings: Any, django_assert_num_queries: Any) -> None:
    settings.LIBRARY_DIRS = []
    get_catalog.cache_clear()
    with django_assert_num_queries(0), pytest.raises(UnknownModel):
        get_catalog().get("nothing")


# ---------------------------------------------------------------- over HTTP

ASYNC = {"Prefer": "respond-async"}


@pytest.mark.django_db(transaction=True)
def test_a_request_may_name_a_file_and_its_job_has_the_id(filled: Path, client: Client) -> None:
    body = {"prompt": "a lake", "model_id": EMOJI, "loras": [{"id": "ink.safetensors", "weight": 0.5}]}
    reply = client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC)
    assert reply.status_code == 202, reply.json()
    params = Job.objects.get().params
    assert (params["model_id"], params["loras"][0]["id"], params["width"]) == ("my-model-v2", "ink", 512)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"model_id": "twin.safetensors"}, "model_id", "is the name of several files"),
        ({"model_id": "old.ckpt"}, "model_id", "can't be used: It is a pickle"),
        ({"model_id": "my-model-v2", "loras": [{"id": "wide-ink"}]}, "loras.0.id", "my model (v2) 🎨 is SD 1.x"),
        ({"model_id": "my-model-v2", "loras": [{"id": "wide"}]}, "loras.0.id", "'wide' is a checkpoint"),
    ],
)
def test_a_name_that_cant_be_used_is_a_400_that_names_the_field(
    filled: Path, client: Client, body: dict[str, Any], field: str, detail: str
) -> None:
    reply = client.post("/api/txt2img/", {"prompt": "a lake", **body}, content_type="application/json", headers=ASYNC)
    (error,) = reply.json()["errors"]
    assert (reply.status_code, error["field"]) == (400, field)
    assert detail in error["detail"]


@pytest.mark.django_db(transaction=True)
def test_a_file_that_is_gone_is_a_400(filled: Path, client: Client) -> None:
    shutil.rmtree(filled / "SD15")
    body = {"prompt": "a lake", "model_id": "my-model-v2"}
    reply = client.post("/api/txt2img/", body, content_type="application/json", headers=ASYNC)
    assert (reply.status_code, reply.json()["errors"][0]["detail"]) == (
        400,
        f"'my-model-v2' can't be used: The file {EMOJI} is not there any more.",
    )


@pytest.mark.parametrize("digits", ["short_hash", "autov2"])
def test_a_picture_s_parameters_find_its_model_by_the_hash_where_the_name_is_another(
    filled: Path, client: Client, digits: str
) -> None:
    hash_rows(LibraryFile.objects.unhashed())
    row = LibraryFile.objects.get(entry_id="wide")
    LibraryFile.objects.filter(pk=row.pk).update(short_hash="0123abcd")  # a small file has none
    row.refresh_from_db()
    text = f"a lake\nSteps: 20, Sampler: Euler a, Model hash: {getattr(row, digits)}, Model: as_somebody_called_it"
    info = PngInfo()
    info.add_text("parameters", text)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    sent = {"image": base64.b64encode(file.getvalue()).decode()}
    answer = client.post("/api/png-info/", sent, content_type="application/json").json()
    assert (answer["request"]["model_id"], answer["missing"]) == ("wide", [])
