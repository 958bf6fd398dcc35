"""NAME.darkroom.json beside a file of the library: the catalog's keys, for an entry that no table describes."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from api.catalog import UnknownModel
from api.library.moving import move_file
from api.library.scan import scan_library
from config.catalog import get_catalog
from tests.library.files import lora_keys, row_of, write_bytes, write_checkpoint, write_file, write_lora
from tests.loading.test_families import flux_shapes

STATED = {
    "name": "Photo, in few steps",
    "licence": "MIT",
    "default_size": 768,
    "default_steps": 6,
    "default_guidance_scale": 1.5,
    "scheduler": "euler_trailing",
    "storage": "fp8",
    "prediction": "v_prediction",
    "zero_terminal_snr": True,
}


def state(file: Path, content: Any) -> Path:
    """`content`: what is written as JSON, or bytes."""
    return write_bytes(file, content if isinstance(content, bytes) else json.dumps(content).encode())


def listed(client: Client, entry_id: str, query: str = "") -> dict[str, Any]:
    [found] = [model for model in client.get(f"/api/models/{query}").json() if model["id"] == entry_id]
    return found  # type: ignore[no-any-return]


def test_what_it_says_is_in_the_entry_and_shown_everywhere_until_it_is_gone(
    library: Path, client: Client, admin_client: Client
) -> None:
    write_checkpoint(library / "photo.safetensors")
    file = state(library / "photo.darkroom.json", STATED)
    scan_library()
    entry = get_catalog().get("photo")
    assert {key: getattr(entry, key) for key in STATED} == STATED
    described = listed(client, "photo")
    shown = STATED.keys() & described.keys()
    assert {key: described[key] for key in shown} == {key: STATED[key] for key in shown}
    assert {"scheduler", "storage"} <= shown
    row = row_of("photo.safetensors")
    page = admin_client.get(f"/admin/library/libraryfile/{row.pk}/change/").content.decode()
    assert "<code>default_steps = 6</code>" in page
    out = StringIO()
    call_command("library", "list", stdout=out)
    assert '  storage="fp8"' in out.getvalue()

    move_file(row, library / "sub")  # it goes along
    scan_library()
    assert get_catalog().get("photo").storage == "fp8"
    (library / "sub" / file.name).unlink()
    scan_library()
    assert get_catalog().get("photo").default_steps == 25
    assert listed(client, "photo")["storage"] == ""


WRONG: list[tuple[Any, str]] = [
    ({"storage": "nf5"}, '"storage" must be one of fp8, int8, nf4.'),
    ({"storrage": "nf4"}, '"storrage" is not a key; did you mean storage?'),
    ({"path": "/etc/passwd"}, '"path" is not a key'),
    ({"default_steps": "8"}, '"default_steps" must be a number without a fraction'),
    ({"default_steps": 0}, '"default_steps" must be from 1 to 150'),
    ({"default_size": 100}, '"default_size" must be a multiple of 8'),
    ({"default_guidance_scale": True}, '"default_guidance_scale" must be a number'),
    ({"scheduler": "eular"}, "\"scheduler\" is 'eular', which does not work with it; there are ddim, "),
    ({"base": "nobody"}, "\"base\" is 'nobody', and no table of the catalog has this id"),
    ({"vae": "/etc/passwd"}, '"vae" must name files of the library'),
    ({"text_encoders": ["../x"]}, '"text_encoders" must name files of the library'),
    ({"note": "a\x00b"}, '"note" has characters that can\'t be kept'),
    ({"a\x00b": 1}, '"ab" is not a key'),
    (b'{"storage": "fp8", "storage": "nf4"}', "it has 'storage' twice"),
    (b'{"default_guidance_scale": NaN}', "NaN is no number"),
    (b"[]", "it is no JSON object"),
    (b"{", "Expecting property name"),
    (b"\xff\xfe", "can't decode"),
    (b"[" * 90_000, "it is nested too deeply"),
    (b" " * 100_001, "it is too large"),
]


def test_what_is_wrong_is_said_by_file_and_key_and_the_model_is_not_used_otherwise_than_asked(
    library: Path, client: Client
) -> None:
    for number, (content, _) in enumerate(WRONG):
        write_checkpoint(library / f"m{number}.safetensors")
        state(library / f"m{number}.darkroom.json", content)
    write_checkpoint(library / "link.safetensors")
    (library / "link.darkroom.json").symlink_to(library / "nowhere")
    assert not scan_library().problems
    for number, (_, said) in enumerate(WRONG):
        reason = row_of(f"m{number}.safetensors").reason
        assert reason.startswith(f"Its settings are wrong: m{number}.darkroom.json: "), reason
        assert said in reason
        assert row_of(f"m{number}.safetensors").family == "sd1"
    assert "link.darkroom.json: it can't be read (No such file or directory)" in row_of("link.safetensors").reason
    described = listed(client, "m0", "?q=m0")
    assert (described["usable"], described["reason"]) == (False, row_of("m0.safetensors").reason)
    with pytest.raises(UnknownModel, match=r"m0\.darkroom\.json"):
        get_catalog().get("m0")


def test_a_storage_without_its_package_is_a_reason(library: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(library / "photo.safetensors")
    state(library / "photo.darkroom.json", {"storage": "nf4"})
    scan_library()
    assert listed(client, "photo")["usable"]
    monkeypatch.setattr("api.catalog.storages.find_spec", lambda package: None)
    described = listed(client, "photo")
    assert not described["usable"]
    assert described["reason"].startswith("Its `storage` is nf4, which needs the package bitsandbytes: .venv/bin/pip install")


def test_a_transformer_alone_may_name_its_other_parts(library: Path) -> None:
    write_file(library / "flux1-dev.safetensors", flux_shapes(double=1, single=1))
    scan_library()
    assert "no text_encoder" in row_of("flux1-dev.safetensors").reason
    assert row_of("flux1-dev.safetensors").reason.endswith("flux1-dev.darkroom.json beside it can name them, too.")
    state(library / "flux1-dev.darkroom.json", {"vae": "ae", "text_encoders": ["clip_l", "t5xxl"]})
    scan_library()
    entry = get_catalog().get("flux1-dev")
    assert (entry.vae, entry.text_encoders) == ("ae", ("clip_l", "t5xxl"))
    state(library / "flux1-dev.darkroom.json", {"base": "flux.1-schnell", "storage": "int8"})
    scan_library()
    assert get_catalog().with_base(get_catalog().get("flux1-dev"))[1].id == "flux.1-schnell"


def test_a_folder_and_what_is_no_model_have_settings_too(library: Path) -> None:
    write_bytes(library / "whole" / "model_index.json", b'{"_class_name": "StableDiffusionXLPipeline"}')
    state(library / "whole" / "darkroom.json", {"storage": "int8", "default_steps": 9})
    write_file(library / "ink.safetensors", lora_keys(300))
    state(library / "ink.darkroom.json", {"family": "sdxl", "trigger": "ink wash, paper"})
    write_lora(library / "other.safetensors")
    state(library / "other.darkroom.json", {"family": "sdxl"})
    scan_library()
    entry = get_catalog().get("whole")
    assert (entry.storage, entry.default_steps) == ("int8", 9)
    adapter = get_catalog().adapter("ink")
    assert (adapter.family, adapter.trigger) == ("sdxl", "ink wash, paper")
    assert "\"family\" is 'sdxl', and the file itself says sd1" in row_of("other.safetensors").reason
    (library / "whole" / "darkroom.json").unlink()
    scan_library()
    assert get_catalog().get("whole").storage == ""
