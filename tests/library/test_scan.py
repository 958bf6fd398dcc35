"""The rows follow the folders: what is there, of what kind, and what has changed."""

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from api.catalog import is_model_id
from api.library import scan as scan_module
from api.library.models import Kind, LibraryFile
from api.library.scan import scan_library
from tests.library.files import (
    EMBEDDING,
    LFS,
    PICKLE,
    UPSCALER,
    VAE,
    row_of,
    rows,
    write_bytes,
    write_checkpoint,
    write_file,
    write_lora,
    write_xl,
)

# ---------------------------------------------------------------- layouts


A1111 = {
    "models/Stable-diffusion/photo.safetensors": Kind.CHECKPOINT,
    "models/Lora/ink.safetensors": Kind.LORA,
    "models/VAE/sharp.safetensors": Kind.VAE,
    "models/ESRGAN/4x.safetensors": Kind.UPSCALER,
    "embeddings/easy.safetensors": Kind.EMBEDDING,
}
COMFY = {
    "models/checkpoints/sub/photo.safetensors": Kind.CHECKPOINT,
    "models/loras/ink.safetensors": Kind.LORA,
    "models/vae/sharp.safetensors": Kind.VAE,
    "models/upscale_models/4x.safetensors": Kind.UPSCALER,
    "models/embeddings/easy.safetensors": Kind.EMBEDDING,
}
CONTENT: dict[Kind, Any] = {
    Kind.CHECKPOINT: write_checkpoint,
    Kind.LORA: write_lora,
    Kind.VAE: lambda file: write_file(file, VAE),
    Kind.UPSCALER: lambda file: write_file(file, UPSCALER),
    Kind.EMBEDDING: lambda file: write_file(file, EMBEDDING),
}


def kinds_found() -> dict[str, str]:
    return {os.path.join(os.path.basename(row.root), row.relative_path): row.kind for row in LibraryFile.objects.present()}


@pytest.mark.parametrize("files", [A1111, COMFY], ids=["A1111", "ComfyUI"])
def test_a_webuis_folder_is_searched_for_models_alone(library: Path, files: dict[str, Kind]) -> None:
    for name, kind in files.items():
        CONTENT[kind](library / name)
    write_checkpoint(library / "outputs" / "no-model.safetensors")
    write_bytes(library / "venv" / "lib" / "weights.bin", PICKLE)
    scan_library()
    assert kinds_found() == files


def test_a_plain_folder_is_searched_at_all_depths(library: Path) -> None:
    write_checkpoint(library / "a" / "b" / "c" / "photo.safetensors")
    write_xl(library / "wide.safetensors")
    write_bytes(library / ".git" / "hidden.safetensors", b"")
    scan_library()
    assert {name: row.family for name, row in rows().items()} == {"a/b/c/photo.safetensors": "sd1", "wide.safetensors": "sdxl"}


def test_a_folder_of_diffusers_is_one_model(library: Path) -> None:
    write_bytes(library / "whole" / "model_index.json", b'{"_class_name": "StableDiffusionPipeline"}')
    write_bytes(library / "whole" / "unet" / "config.json", b'{"cross_attention_dim": 1024}')
    write_file(library / "whole" / "unet" / "diffusion_pytorch_model.safetensors", VAE)
    write_bytes(library / "strange" / "model_index.json", b'{"_class_name": "WanPipeline"}')
    scan_library()
    assert {name: (row.family, row.is_folder, row.is_usable) for name, row in rows().items()} == {
        "whole": ("sd2", True, True),
        "strange": ("", True, False),
    }
    assert row_of("whole").size > 30_000
    assert "'WanPipeline'" in row_of("strange").reason


def test_extra_model_paths_name_more_folders(library: Path, tmp_path: Path) -> None:
    write_lora(tmp_path / "webui" / "models" / "Lora" / "ink.safetensors")
    write_checkpoint(tmp_path / "webui" / "models" / "Stable-diffusion" / "photo.safetensors")
    write_checkpoint(library / "models" / "checkpoints" / "own.safetensors")
    (library / "extra_model_paths.yaml").write_text(
        "a111:\n    base_path: ../webui/\n    checkpoints: models/Stable-diffusion\n    loras: |\n"
        "        models/Lora\n        models/LyCORIS\n    custom_nodes: nodes\n"
    )
    report = scan_library()
    assert set(rows()) == {"ink.safetensors", "photo.safetensors", "checkpoints/own.safetensors"}
    (problem,) = report.problems
    assert problem.endswith("webui/models/LyCORIS, which is not there.")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &x {base_path: .}\nb: *x\n", "has an alias (*x) in line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", "has a tag (tag:yaml.org,2002:python"),
        ("a: [1, 2\nb: 3", "is no YAML"),
        ("a: 2026-99-99\n", "is no YAML"),
        ("- a\n- b\n", "is no table of sections"),
        ("a: text\n", "has a section 'a' that is no table"),
        ("a:\n  base_path: [1]\n  loras: x\n", "has a base_path in 'a' that is no text"),
        ("[" * 90_000, "is nested too deeply in line 1"),
        ("# " + "x" * 100_000, "has more than 100,000 bytes"),
        ("\x00", "is no YAML"),
    ],
)  # fmt: skip
def test_a_yaml_file_that_asks_for_more_is_refused_by_a_sentence(library: Path, text: str, complaint: str) -> None:
    write_checkpoint(library / "models" / "checkpoints" / "own.safetensors")
    (library / "extra_model_paths.yaml").write_text(text)
    report = scan_library()
    assert set(rows()) == {"checkpoints/own.safetensors"}
    assert len(report.problems) == 1
    assert complaint in report.problems[0]


# ---------------------------------------------------------------- changes


def test_only_what_has_changed_is_opened(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_checkpoint(library / f"{name}.safetensors") for name in ("first", "second"))
    assert (scan_library().added, scan_library().added) == (2, 0)
    opened: list[str] = []
    describe = scan_module.describe_file
    monkeypatch.setattr(scan_module, "describe_file", lambda found: opened.append(found.path) or describe(found))
    before = row_of("second.safetensors")
    write_xl(second)
    report = scan_library()
    assert (opened, report.changed, report.added, report.missing) == ([str(second)], 1, 0, 0)
    after = row_of("second.safetensors")
    assert (after.pk, after.entry_id, after.family) == (before.pk, before.entry_id, "sdxl")
    assert first.exists()


def test_a_file_that_is_gone_keeps_its_id_and_hashes_until_it_is_back(library: Path, tmp_path: Path) -> None:
    file = write_checkpoint(library / "photo.safetensors")
    scan_library()
    LibraryFile.objects.update(sha256="a" * 64)
    library.rename(tmp_path / "unmounted")
    report = scan_library()
    assert (report.missing, row_of("photo.safetensors").why_not) == (1, "The file photo.safetensors is not there any more.")
    assert report.problems == [f"The folder {library} of LIBRARY_DIRS is not there."]
    (tmp_path / "unmounted").rename(library)
    scan_library()
    assert (row_of("photo.safetensors").is_usable, row_of("photo.safetensors").sha256) == (True, "a" * 64)
    assert file.exists()


def test_hashes_are_forgotten_with_the_content_and_kept_with_a_new_picture(library: Path) -> None:
    file = write_checkpoint(library / "photo.safetensors")
    scan_library()
    LibraryFile.objects.update(sha256="a" * 64)
    write_bytes(library / "photo.preview.png", b"")
    scan_library()
    assert (row_of("photo.safetensors").preview, row_of("photo.safetensors").sha256) == ("photo.preview.png", "a" * 64)
    write_xl(file)
    scan_library()
    assert row_of("photo.safetensors").sha256 == ""


# ---------------------------------------------------------------- ids


def test_two_files_of_one_name_have_two_ids_that_stay(library: Path) -> None:
    for folder in ("a", "b"):
        write_checkpoint(library / folder / "photo.safetensors")
    scan_library()
    ids = {row.relative_path: row.entry_id for row in LibraryFile.objects.all()}
    assert ids["a/photo.safetensors"] == "photo"
    assert ids["b/photo.safetensors"].startswith("photo-")
    shutil.rmtree(library / "a")
    scan_library()
    assert {row.relative_path: row.entry_id for row in LibraryFile.objects.all()} == ids


@pytest.mark.parametrize(
    ("name", "entry_id"),
    [
        ("my model (v2) 🎨", "my-model-v2"),
        ("Épicé", "Epice"),
        ("模型", "file"),
        ("..hidden..", None),
        ("a...b", "a.b"),
        ("-x-", "x"),
        ("x" * 240, "x" * 100),
        ("starter", "starter-"),
    ],
)  # fmt: skip
def test_ids_are_slugs(library: Path, name: str, entry_id: str | None) -> None:
    write_checkpoint(library / f"{name}.safetensors")
    scan_library()
    found = list(LibraryFile.objects.values_list("entry_id", flat=True))
    assert found == [] if entry_id is None else found[0].startswith(entry_id)
    assert all(is_model_id(one) for one in found)


# ---------------------------------------------------------------- bad files


BAD = {
    "pickle.ckpt": (PICKLE, "It is a pickle, which can run code"),
    "pickle.safetensors": (PICKLE * 4, "It is a pickle, which can run code"),
    "pointer.safetensors": (LFS.encode(), "Git LFS pointer"),
    "empty.safetensors": (b"", "It is empty."),
    "text.safetensors": (b"<html>404</html>", "It is a web page"),
    "lies.safetensors": ((2**40).to_bytes(8, "little") + b'{"a": 1}', "It is cut off"),
    "quantised.gguf": (b"GGUF", "It is cut off"),
    "deep.safetensors": ((100_000).to_bytes(8, "little") + b'{"a":' + b"[" * 99_995, "its header is no JSON"),
}


def test_one_bad_file_never_stops_a_scan(library: Path) -> None:
    for name, (content, _) in BAD.items():
        write_bytes(library / name, content)
    whole = write_checkpoint(library / "good.safetensors")
    write_bytes(library / "short.safetensors", whole.read_bytes()[:-1])
    scan_library()
    assert row_of("good.safetensors").is_usable
    assert {name: reason in row_of(name).reason for name, (_, reason) in BAD.items()} == dict.fromkeys(BAD, True)
    assert "cut off: it should have" in row_of("short.safetensors").reason


def test_a_fault_of_ours_in_one_file_never_stops_a_scan(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(library / "bad.safetensors")
    write_checkpoint(library / "good.safetensors")
    identify = scan_module.describe_file.__globals__["identify"]

    def fail_for_bad(header: Any, name: str) -> Any:
        if name == "bad.safetensors":
            raise ZeroDivisionError
        return identify(header, name)

    monkeypatch.setattr("api.library.identification.identify", fail_for_bad)
    scan_library()
    assert {name: row.is_usable for name, row in rows().items()} == {"bad.safetensors": False, "good.safetensors": True}


def test_a_row_that_the_database_refuses_never_stops_a_scan(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bad", "good"):
        write_checkpoint(library / f"{name}.safetensors")
    describe = scan_module.describe_file
    monkeypatch.setattr(
        scan_module, "describe_file", lambda found: {**describe(found), **({"size": "x"} if "bad" in found.path else {})}
    )
    report = scan_library()
    assert set(rows()) == {"good.safetensors"}
    assert len(report.problems) == 1


def test_a_file_that_vanishes_during_a_scan_is_told_as_such(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_checkpoint(library / "short-lived.safetensors")
    read = scan_module.describe_file.__globals__["read_any_header"]

    def remove_and_read(path: Path) -> Any:
        file.unlink()
        return read(path)

    monkeypatch.setattr("api.library.identification.read_any_header", remove_and_read)
    scan_library()
    assert row_of("short-lived.safetensors").reason == "It vanished while it was read."


def test_what_is_still_downloading_is_not_offered(library: Path) -> None:
    write_checkpoint(library / "half.safetensors")
    write_bytes(library / "half.safetensors.aria2", b"")
    scan_library()
    assert row_of("half.safetensors").reason == "Its download has not ended: half.safetensors.aria2 lies beside it."
    (library / "half.safetensors.aria2").unlink()
    scan_library()
    assert row_of("half.safetensors").is_usable


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cant_be_listed_is_named(library: Path) -> None:
    write_checkpoint(library / "closed" / "photo.safetensors")
    (library / "closed").chmod(0)
    report = scan_library()
    (library / "closed").chmod(0o755)
    assert report.problems == [f"The folder {library / 'closed'} can't be listed (Permission denied)."]


# ---------------------------------------------------------------- two at once


def test_a_thousand_files_take_3_s_and_a_tenth_when_nothing_changed(library: Path) -> None:
    """Of the processor. `python -m benchmarks.library` has 10,000."""
    for number in range(1000):
        (write_checkpoint if number % 5 == 0 else write_lora)(library / f"{number // 100}" / f"{number}.safetensors")
    seconds = []
    for _ in range(4):
        started = time.process_time()
        assert scan_library().found == 1000
        seconds.append(time.process_time() - started)
    assert seconds[0] < 3
    assert min(seconds[1:]) < 0.1


@pytest.mark.django_db(transaction=True)
def test_two_scans_at_once_write_each_row_once(library: Path) -> None:
    for number in range(20):
        write_lora(library / f"{number}.safetensors")
    reports: list[Any] = []

    def scan() -> None:
        from django.db import connection

        reports.append(scan_library())
        connection.close()

    threads = [threading.Thread(target=scan) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.added for report in reports) == [0, 20]
    assert LibraryFile.objects.count() == 20
