"""The lists that fill the menus of A1111's clients."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.images.presets.services import create_preset
from api.images.sampler_names import find_scheduler
from api.images.scheduler_presets import SCHEDULERS
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.access.conftest import bearer
from tests.library.conftest import library  # noqa: F401  # a fixture
from tests.library.files import EMBEDDING, row_of, write_checkpoint, write_file, write_lora, write_xl
from tests.upscaling.networks import rrdbnet, write

pytestmark = pytest.mark.django_db
NAMES = ("samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models", "sd-vae", "sd-modules", "loras", "hypernetworks",
         "face-restorers", "realesrgan-models", "prompt-styles", "script-info")  # fmt: skip


@pytest.fixture
def filled(library: Path) -> Path:  # noqa: F811
    write_checkpoint(library / "Stable-diffusion" / "anime" / "photo.safetensors")
    write_xl(library / "Stable-diffusion" / "wide.safetensors")
    write_lora(library / "Lora" / "Ink Wash.safetensors", modelspec__trigger_phrase="ink wash")
    write_file(library / "embeddings" / "easy.safetensors", EMBEDDING)
    write(library / "ESRGAN" / "RealESRGAN_x4plus.safetensors", rrdbnet())
    write(library / "ESRGAN" / "4x Mine.safetensors", rrdbnet())
    scan_library()
    hash_rows(LibraryFile.objects.unhashed())
    return library


def get(client: Client, name: str, **extra: Any) -> Any:
    reply = client.get(f"/sdapi/v1/{name}", **extra)
    assert reply.status_code == 200, reply.content
    return reply.json()


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_list(client: Client, name: str) -> None:
    assert isinstance(get(client, name), list)


@pytest.mark.parametrize("name", ["sd-vae", "sd-modules", "hypernetworks", "face-restorers", "extensions"])
def test_what_no_request_can_choose_is_not_offered(client: Client, name: str) -> None:
    assert get(client, name) == []


def test_samplers_are_without_their_schedules(client: Client) -> None:
    listed = {one["name"]: one["aliases"] for one in get(client, "samplers")}
    assert "Euler a" in listed
    assert "DPM++ 2M Karras" not in listed
    assert {"DPM++ 2M Karras", "k_dpmpp_2m"} <= set(listed["DPM++ 2M"])


def test_each_name_of_a_sampler_means_a_scheduler_of_ours(client: Client) -> None:
    for one in get(client, "samplers"):
        for schedule in [schedule["name"] for schedule in get(client, "schedulers")]:
            name, _ = find_scheduler(one["name"], schedule)
            assert name in SCHEDULERS, one
        assert all(find_scheduler(alias)[0] in SCHEDULERS for alias in one["aliases"] if not alias.startswith("k_")), one


def test_upscalers_have_a1111s_names(client: Client, filled: Path) -> None:
    listed = get(client, "upscalers")
    assert listed[0] == {"name": "None", "model_name": None, "model_path": None, "model_url": None, "scale": 4}
    assert {"Lanczos", "starter-upscaler", "R-ESRGAN 4x+", "4x Mine"} <= {one["name"] for one in listed}
    [own] = get(client, "realesrgan-models")
    assert (own["name"], own["path"]) == ("R-ESRGAN 4x+", str(filled / "ESRGAN" / "RealESRGAN_x4plus.safetensors"))
    assert get(client, "latent-upscale-modes") == [{"name": "Latent"}]


def test_models_have_titles_with_hashes(client: Client, filled: Path) -> None:
    listed = {one["model_name"]: one for one in get(client, "sd-models")}
    row = row_of("photo.safetensors")
    assert listed["starter"]["title"] == "starter"
    assert listed["Stable-diffusion_anime_photo"] == {
        "title": f"Stable-diffusion/anime/photo.safetensors [{row.autov2}]",
        "model_name": "Stable-diffusion_anime_photo",
        "hash": row.autov2,
        "sha256": row.sha256,
        "filename": row.path,
        "config": None,
    }


def test_each_title_can_be_chosen(client: Client, filled: Path) -> None:
    for one in get(client, "sd-models"):
        sent = {"sd_model_checkpoint": one["title"]}
        assert client.post("/sdapi/v1/options", sent, content_type="application/json").status_code == 200
        assert get(client, "options")["sd_model_checkpoint"] == one["title"]


def test_models_that_would_have_to_be_fetched_are_not_offered(client: Client) -> None:
    assert "stable-diffusion-v1-5" not in {one["title"] for one in get(client, "sd-models")}


def test_loras_are_named_as_prompts_name_them(client: Client, filled: Path) -> None:
    [own] = [one for one in get(client, "loras") if one["name"] == "Ink Wash"]
    assert own["alias"] == row_of("Ink Wash.safetensors").entry_id
    assert own["metadata"]["trigger_words"] == ["ink wash"]


def test_embeddings_that_do_not_fit_the_chosen_model_are_skipped(client: Client, filled: Path) -> None:
    described = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None, "shape": 768, "vectors": 8}
    client.post("/sdapi/v1/options", {"sd_model_checkpoint": "photo"}, content_type="application/json")
    assert get(client, "embeddings")["loaded"]["easy"] == described
    client.post("/sdapi/v1/options", {"sd_model_checkpoint": "wide"}, content_type="application/json")
    assert get(client, "embeddings")["skipped"]["easy"] == described


@pytest.mark.parametrize(("name", "field"), [("sd-models", "filename"), ("loras", "path"), ("upscalers", "model_path")])
def test_where_files_lie_is_for_staff(client: Client, filled: Path, name: str, field: str) -> None:
    assert any(str(filled) in str(one[field]) for one in get(client, name))
    _, token = create_key(name="a client")
    assert not any(str(filled) in str(one[field]) for one in get(client, name, headers=bearer(token)))


def test_styles_are_presets_that_hold_a_prompt(client: Client) -> None:
    for owner, name, request in [
        ("local", "noir", {"prompt": "{prompt}, film noir", "negative_prompt": "colour", "steps": 9}),
        ("local", "quick", {"steps": 4}),
        ("another", "theirs", {"prompt": "x"}),
    ]:
        create_preset(name=name, owner_key=owner, request=request)
    create_preset(name="shared", owner_key="another", request={"negative_prompt": "blurry"}, shared=True)
    assert get(client, "prompt-styles") == [
        {"name": "noir", "prompt": "{prompt}, film noir", "negative_prompt": "colour"},
        {"name": "shared", "prompt": "", "negative_prompt": "blurry"},
    ]


def test_ones_own_style_goes_before_a_shared_one(client: Client) -> None:
    create_preset(name="noir", owner_key="another", request={"prompt": "theirs"}, shared=True)
    create_preset(name="noir", owner_key="local", request={"prompt": "mine"})
    assert [one["prompt"] for one in get(client, "prompt-styles")] == ["mine"]


def test_scripts_flags_and_memory(client: Client) -> None:
    assert get(client, "scripts") == {"txt2img": ["controlnet"], "img2img": ["controlnet", "sd upscale"]}
    assert get(client, "cmd-flags")["api"] is True
    memory = get(client, "memory")
    assert memory["ram"]["total"] == memory["ram"]["free"] + memory["ram"]["used"]
    assert memory["cuda"] == {"error": "unavailable"}


@pytest.mark.parametrize("name", ["checkpoints", "vae", "loras", "embeddings"])
def test_a_new_file_is_there_after_a_refresh(client: Client, library: Path, name: str) -> None:  # noqa: F811
    write_checkpoint(library / "new.safetensors")
    assert "new.safetensors" not in {one["title"] for one in get(client, "sd-models")}
    reply = client.post(f"/sdapi/v1/refresh-{name}")
    assert (reply.status_code, reply.json()) == (200, None)
    assert "new.safetensors" in {one["title"] for one in get(client, "sd-models")}


def test_a_refresh_forgets_nothing_where_this_process_does_not_see_the_folders(
    client: Client, filled: Path, settings: Any
) -> None:
    settings.LIBRARY_DIRS = [*settings.LIBRARY_DIRS, filled / "elsewhere"]
    (filled / "Stable-diffusion" / "wide.safetensors").unlink()
    assert client.post("/sdapi/v1/refresh-checkpoints").status_code == 200
    assert row_of("wide.safetensors").missing_since is None


@pytest.mark.django_db(transaction=True)
def test_what_is_loaded_is_for_staff(client: Client) -> None:
    _, token = create_key(name="a client")
    for name in ("unload-checkpoint", "reload-checkpoint"):
        reply = client.post(f"/sdapi/v1/{name}", headers=bearer(token))
        assert (reply.status_code, reply.json()["error"]) == (403, "HTTPException")
