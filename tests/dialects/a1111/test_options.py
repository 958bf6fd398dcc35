"""GET and POST /sdapi/v1/options: as A1111's clients use them, for each key by itself."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from api.access.services import create_key
from api.dialects.a1111.option_table import DEFAULTS, FIXED, KEPT
from api.dialects.models import A1111Options
from api.library.hashing import hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.access.conftest import bearer
from tests.library.conftest import library  # noqa: F401  # a fixture
from tests.library.files import row_of, write_checkpoint, write_xl

pytestmark = pytest.mark.django_db
PATH = "/sdapi/v1/options"


@pytest.fixture
def two_models(library: Path) -> Path:  # noqa: F811
    write_checkpoint(library / "SD 1" / "photo.safetensors")
    write_xl(library / "wide.safetensors")
    scan_library()
    hash_rows(LibraryFile.objects.unhashed())
    return library


def options(client: Client, **extra: Any) -> dict[str, Any]:
    reply = client.get(PATH, **extra)
    assert reply.status_code == 200, reply.content
    return reply.json()  # type: ignore[no-any-return]


def post(client: Client, body: Any, **extra: Any) -> Any:
    return client.post(PATH, body, content_type="application/json", **extra)


def saved(client: Client, **values: Any) -> dict[str, Any]:
    reply = post(client, values)
    assert (reply.status_code, reply.json()) == (200, None), reply.content
    return options(client)


def refused(client: Client, body: Any) -> str:
    reply = post(client, body)
    assert reply.status_code == 422, reply.content
    assert reply.json().keys() == {"error", "detail", "body", "errors"}
    return str(reply.json()["errors"])


def test_all_are_there_with_their_defaults(client: Client) -> None:
    shown = options(client)
    assert shown.keys() == {"sd_model_checkpoint", "sd_checkpoint_hash", *DEFAULTS}
    assert (shown["sd_model_checkpoint"], shown["send_seed"], shown["randn_source"]) == ("starter", True, "CPU")


def test_a1111s_own_test_of_them(client: Client) -> None:
    assert saved(client, send_seed=False)["send_seed"] is False
    assert saved(client, send_seed=True)["send_seed"] is True


def test_the_whole_dict_goes_back_as_open_webui_sends_it(client: Client, two_models: Path) -> None:
    sent = {**options(client), "sd_model_checkpoint": "wide"}
    assert saved(client, **sent)["sd_model_checkpoint"] == f"wide.safetensors [{row_of('wide.safetensors').autov2}]"


@pytest.mark.parametrize(
    "name", ["photo", "photo.safetensors", "SD 1/photo.safetensors", "SD 1\\photo", "{title}", "{hash}", "{sha}"]
)
def test_a_model_is_chosen_by_each_of_its_names(client: Client, two_models: Path, name: str) -> None:
    row = row_of("photo.safetensors")
    title = f"SD 1/photo.safetensors [{row.autov2}]"
    shown = saved(client, sd_model_checkpoint=name.format(title=title, hash=row.autov2, sha=row.sha256))
    assert (shown["sd_model_checkpoint"], shown["sd_checkpoint_hash"]) == (title, row.sha256)


def test_a_model_of_the_catalog_is_chosen_by_its_id(client: Client) -> None:
    shown = saved(client, sd_model_checkpoint="stable-diffusion-v1-5")
    assert shown["sd_model_checkpoint"] == "stable-diffusion-v1-5"
    assert saved(client, sd_model_checkpoint=None)["sd_model_checkpoint"] == "starter"


def test_a_title_whose_hash_is_not_known_yet_still_means_its_file(client: Client, library: Path) -> None:  # noqa: F811
    write_checkpoint(library / "photo.safetensors")
    scan_library()
    assert saved(client, sd_model_checkpoint="photo.safetensors [abcdef0123]")["sd_model_checkpoint"] == "photo.safetensors"


def test_a_model_that_is_gone_is_still_what_was_chosen(client: Client, two_models: Path) -> None:
    saved(client, sd_model_checkpoint="wide")
    LibraryFile.objects.all().delete()
    assert options(client)["sd_model_checkpoint"] == "wide"


def test_each_key_has_its_own(client: Client) -> None:
    tokens = [create_key(name=name)[1] for name in ("one", "other")]
    assert post(client, {"CLIP_stop_at_last_layers": 2, "samples_format": "webp"}, headers=bearer(tokens[0])).status_code == 200
    shown = [options(client, headers=bearer(token)) for token in tokens]
    assert [(one["CLIP_stop_at_last_layers"], one["samples_format"]) for one in shown] == [(2, "webp"), (1, "png")]


def test_a_key_that_only_reads_changes_none(client: Client) -> None:
    _, token = create_key(name="reader", scopes=["read"])
    assert options(client, headers=bearer(token))
    assert post(client, {"send_seed": False}, headers=bearer(token)).status_code == 403


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jpeg_quality", 92.0),
        ("sd_vae", "None"),
        ("eta_ancestral", 1),
        ("n_rows", 3),
        ("hidden_tabs", ["Extras"]),
        ("outdir_samples", "x"),
    ],
)
def test_what_asks_for_nothing_that_is_not_here_is_taken(client: Client, name: str, value: Any) -> None:
    assert saved(client, **{name: value})[name] == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"sd_model_checkpoint": "nowhere.safetensors [0123456789]"}, "model 'nowhere.safetensors [0123456789]' not found"),
        ({"sd_model_checkpoint": "lanczos"}, "It makes no pictures"),
        ({"sd_model_checkpoint": 7}, "sd_model_checkpoint: Must be a text"),
        ({"sd_vae": "vae-ft-mse.safetensors"}, "sd_vae: It can't be changed here"),
        ({"eta_ancestral": 0.5}, "eta_ancestral: "),
        ({"tiling": 0}, "tiling: "),
        ({"enable_emphasis": False}, "enable_emphasis: "),
        ({"CLIP_stop_at_last_layers": 13}, "CLIP_stop_at_last_layers: Must be a whole number from 1 to 12"),
        ({"CLIP_stop_at_last_layers": True}, "CLIP_stop_at_last_layers: "),
        ({"CLIP_stop_at_last_layers": [1]}, "CLIP_stop_at_last_layers: "),
        ({"samples_format": "gif"}, "samples_format: Must be one of png"),
        ({"samples_format": ["png"]}, "samples_format: "),
        ({"send_seed": "no"}, "send_seed: Must be true or false"),
        ({"n_rows": "many"}, "n_rows: A valid number"),
        ({"n_rows": 1e300}, "n_rows: A valid number"),
        ({"hidden_tabs": [1]}, "hidden_tabs: Must be a text"),
        ({"hidden_tabs": "Extras"}, "hidden_tabs: Must be a list"),
        ({"outdir_samples": "x" * 1001}, "outdir_samples: Must be a text of up to"),
        ({"send_sed": True}, "send_sed: Unknown option. Did you mean 'send_seed'"),
        ([], "JSON object"),
        ('"png"', "JSON object"),
    ],
)
def test_what_can_not_be_is_refused_by_the_options_name(client: Client, body: Any, said: str) -> None:
    assert said in refused(client, body)
    assert options(client)["sd_model_checkpoint"] == "starter"


def test_of_several_all_that_are_wrong_are_named_and_none_is_kept(client: Client) -> None:
    errors = refused(client, {"send_seed": False, "tiling": True, "sd_vae": "x"})
    assert "tiling: " in errors
    assert "sd_vae: " in errors
    assert options(client)["send_seed"] is True


@pytest.mark.parametrize("name", ["sd_checkpoint_hash"])
def test_what_follows_from_the_model_is_not_set(client: Client, name: str) -> None:
    assert saved(client, **{name: "0" * 64})[name] == ""


def test_what_is_fixed_is_in_no_other_table() -> None:
    assert not FIXED.keys() & KEPT.keys()


def test_who_has_chosen_what_is_seen_by_staff_alone(client: Client, admin_client: Client) -> None:
    _, token = create_key(name="the clients key")
    assert post(client, {"CLIP_stop_at_last_layers": 2, "samples_format": "webp"}, headers=bearer(token)).status_code == 200
    page = admin_client.get("/admin/dialects/a1111options/")
    text = page.content.decode()
    assert "the clients key" in text
    assert "CLIP_stop_at_last_layers: 2" in text
    row = A1111Options.objects.get()
    detail = admin_client.get(f"/admin/dialects/a1111options/{row.pk}/change/").content.decode()
    assert "samples_format: webp" in detail
    assert 'name="values"' not in detail
    assert client.get("/admin/dialects/a1111options/").status_code == 302
