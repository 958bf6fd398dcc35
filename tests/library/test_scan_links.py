"""Links out of a library's folders and within them, and what lies beside a file."""

import os
from pathlib import Path
from typing import Any

import pytest

from api.library.diagnosis import examine_folders
from api.library.scan import scan_library
from tests.library.files import VAE, row_of, rows, write_bytes, write_checkpoint, write_file, write_lora

# ---------------------------------------------------------------- links


def test_links_out_of_the_library_are_followed_only_where_the_setting_says_so(
    library: Path, tmp_path: Path, settings: Any
) -> None:
    write_checkpoint(tmp_path / "elsewhere" / "photo.safetensors")
    (library / "folder").symlink_to(tmp_path / "elsewhere")
    (library / "file.safetensors").symlink_to(tmp_path / "elsewhere" / "photo.safetensors")
    (library / "dead.safetensors").symlink_to(tmp_path / "nowhere.safetensors")
    report = scan_library()
    assert report.problems == [f"The link {library / 'folder'} leads out of the library and is not followed."]
    assert {name: row.reason for name, row in rows().items()} == {
        "file.safetensors": "It is a link to a place outside of the library; LIBRARY_FOLLOW_LINKS=true follows it.",
        "dead.safetensors": "It is a link to a file that is not there.",
    }
    settings.LIBRARY_FOLLOW_LINKS = True
    scan_library()
    assert {name: row.is_usable for name, row in rows().items()} == {
        "file.safetensors": True,
        "folder/photo.safetensors": True,
        "dead.safetensors": False,
    }


def test_what_belongs_to_a_model_is_no_way_out_either(library: Path, tmp_path: Path, settings: Any) -> None:
    """A part of a folder of diffusers', a folder in it, and what lies beside a file."""
    outside = tmp_path / "elsewhere"
    write_bytes(outside / "part", b"x")
    write_bytes(outside / "secret.json", b'{"license": "a secret", "storage": "fp8"}')
    write_file(outside / "vae.safetensors", VAE)
    for name, link in {"file": "unet/x.safetensors", "folder": "unet"}.items():
        write_bytes(library / name / "model_index.json", b'{"_class_name": "StableDiffusionXLPipeline"}')
        (library / name / link).parent.mkdir(exist_ok=True)
        (library / name / link).symlink_to(outside / "part" if name == "file" else outside)
    for name, ending, target in (
        ("a", ".json", "secret.json"),
        ("b", ".vae.safetensors", "vae.safetensors"),
        ("c", ".darkroom.json", "secret.json"),
    ):
        write_checkpoint(library / f"{name}.safetensors")
        (library / f"{name}{ending}").symlink_to(outside / target)
    scan_library()
    found = {name: row for name, row in rows().items() if not name.endswith(".vae.safetensors")}
    said = "is a link to a place outside of the library; LIBRARY_FOLLOW_LINKS=true follows it."
    assert {name: row.reason for name, row in found.items()} == {
        "file": f"Its unet/x.safetensors {said}",
        "folder": f"Its unet {said}",
        "a.safetensors": "",
        "b.safetensors": "",
        "c.safetensors": f"Its c.darkroom.json {said}",
    }
    assert (found["a.safetensors"].licence, found["b.safetensors"].vae, found["c.safetensors"].own_settings) == ("", "", {})
    settings.LIBRARY_FOLLOW_LINKS = True
    scan_library()
    found = rows()
    assert found["file"].is_usable
    assert found["folder"].is_usable
    assert (found["a.safetensors"].licence, found["b.safetensors"].vae) == ("a secret", "b.vae.safetensors")


def test_a_link_to_nothing_beside_a_file_does_not_lose_the_file(library: Path) -> None:
    write_checkpoint(library / "photo.safetensors")
    (library / "photo.preview.png").symlink_to(library / "nowhere")
    (library / "photo.json").symlink_to(library / "nowhere")
    scan_library()
    assert row_of("photo.safetensors").is_usable


def test_a_loop_of_links_ends(library: Path, settings: Any) -> None:
    settings.LIBRARY_FOLLOW_LINKS = True
    write_checkpoint(library / "a" / "photo.safetensors")
    (library / "a" / "up").symlink_to(library)
    (library / "itself").symlink_to(library / "itself")
    scan_library()
    assert set(rows()) == {"a/photo.safetensors"}


def test_a_link_within_the_library_is_followed(library: Path) -> None:
    write_checkpoint(library / "blobs" / "0123")
    (library / "snapshot").mkdir()
    (library / "snapshot" / "photo.safetensors").symlink_to("../blobs/0123")
    scan_library()
    assert rows()["snapshot/photo.safetensors"].is_usable


def test_a_link_into_another_folder_of_the_library_is_none_out_of_it_for_the_doctor_too(
    library: Path, tmp_path: Path, settings: Any
) -> None:
    """And a file whose name no database can keep is named."""
    other = tmp_path / "other"
    write_checkpoint(other / "photo.safetensors")
    write_bytes(library / os.fsdecode(b"bad\xff.safetensors"), b"")
    (library / "linked.safetensors").symlink_to(other / "photo.safetensors")
    (library / "out.safetensors").symlink_to("/etc/hostname")
    settings.LIBRARY_DIRS = [library, other]
    left_out = f"The file {library}/bad?.safetensors is left out: its name is not UTF-8. Give it another."
    assert scan_library().problems == [left_out]
    assert rows()["linked.safetensors"].is_usable
    wrong = [(finding.text, finding.cure) for finding in examine_folders() if finding.cure]
    assert [cure for text, cure in wrong if "It is a link" in text] == [
        "Set LIBRARY_FOLLOW_LINKS=true, or put the file itself there."
    ]
    assert left_out in [text for text, _ in wrong]


# ---------------------------------------------------------------- what lies beside a file


def test_what_civitais_helpers_wrote_is_read(library: Path) -> None:
    write_lora(library / "ink.safetensors")
    write_bytes(
        library / "ink.civitai.info",
        '{"modelId": 1, "name": "v2", "trainedWords": ["ink wash, sumi-e", 3, "\\ud800"], "baseModel": "SD 1.5",'
        ' "model": {"name": "Ink\\u0000 🎨", "allowCommercialUse": ["Image"]}, "files": [{"hashes": {"SHA256": "'.encode()
        + b"AB" * 32
        + b'"}}]}',
    )
    scan_library()
    row = row_of("ink.safetensors")
    assert (row.name, row.trigger_words[:2], row.licence) == (
        "Ink 🎨 v2",
        ["ink wash", "sumi-e"],
        "Civitai: commercial use Image",
    )
    assert row.stated_sha256 == "ab" * 32


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b'{"model": 3, "files": {}, "trainedWords": {}}', b"[" * 100_000])
def test_a_sidecar_that_cant_be_read_is_passed_over(library: Path, content: bytes) -> None:
    write_lora(library / "ink.safetensors")
    write_bytes(library / "ink.civitai.info", content)
    write_bytes(library / "ink.json", b'{"activation text": "sumi-e"}')
    scan_library()
    assert (row_of("ink.safetensors").name, row_of("ink.safetensors").trigger_words) == ("ink", ["sumi-e"])


def test_a_vae_of_the_same_name_is_the_checkpoints(library: Path) -> None:
    write_checkpoint(library / "photo.safetensors")
    vae = write_file(library / "photo.vae.safetensors", VAE)
    scan_library()
    assert row_of("photo.safetensors").vae == vae.name
