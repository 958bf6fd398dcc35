"""`manage.py library`, `doctor`'s part about folders, hashes, and the thread that follows."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from api.library import follow
from api.library.diagnosis import examine_folders
from api.library.hashing import hash_file, hash_rows
from api.library.models import LibraryFile
from api.library.scan import scan_library
from tests.library.files import LFS, PICKLE, write_bytes, write_checkpoint, write_lora


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("library", *arguments, stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def filled(library: Path) -> Path:
    write_checkpoint(library / "photo.safetensors")
    write_bytes(library / "photo.civitai.info", b"{}")
    write_bytes(library / "photo.preview.png", b"")
    write_bytes(library / "sub" / "pointer.safetensors", LFS.encode())
    assert run("list").startswith("2 files, 2 new, 0 changed, 0 gone, in ")  # looks for itself, where no server has
    return library


def test_list_and_why_not_say_what_is_there_and_what_is_wrong(filled: Path) -> None:
    assert "photo  checkpoint  sd1" in run("list")
    assert run("list", "--kind", "lora") == "0 files.\n"
    assert "pointer.safetensors: It is a Git LFS pointer" in run("why-not")
    assert run("why-not", "photo").endswith("photo.safetensors: It can be used.\n")
    with pytest.raises(CommandError, match="has no file 'nothing'"):
        run("why-not", "nothing")


def test_without_a_folder_every_command_says_so(settings: Any) -> None:
    settings.LIBRARY_DIRS = []
    with pytest.raises(CommandError, match="LIBRARY_DIRS names no folder"):
        run("list")


# ---------------------------------------------------------------- hashes


def test_hashes_are_those_that_people_know(filled: Path) -> None:
    assert "1 of 1 files have their hashes now." in run("hash")
    content = (filled / "photo.safetensors").read_bytes()
    row = LibraryFile.objects.get(entry_id="photo")
    start = 8 + int.from_bytes(content[:8], "little")
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert row.content_sha256 == hashlib.sha256(content[start:]).hexdigest()
    assert row.short_hash == hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]
    assert "0 of 0" in run("hash")


def test_pieces_make_the_same_hashes_as_the_whole(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hash_file(str(filled / "photo.safetensors"))
    monkeypatch.setattr("api.library.hashing.CHUNK", 977)
    assert hash_file(str(filled / "photo.safetensors")) == whole


def test_a_file_that_changes_while_it_is_hashed_gets_no_hash(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = filled / "photo.safetensors"
    monkeypatch.setattr("api.library.hashing.content_start", lambda prefix, path: os.utime(file) or 8)
    assert hash_rows(LibraryFile.objects.filter(entry_id="photo")) == 0
    assert LibraryFile.objects.get(entry_id="photo").sha256 == ""


def test_verify_names_what_is_damaged(filled: Path) -> None:
    with pytest.raises(CommandError, match="1 of 2 files are not as they should be"):
        run("verify")
    assert run("verify", "photo") == "1 files are as they should be.\n"
    run("hash")
    file = filled / "photo.safetensors"
    status = file.stat()
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"x")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("library", "verify", "photo", stdout=out)
    assert "Its content has changed since it was hashed" in out.getvalue()


def test_verify_compares_with_what_the_sidecar_says(filled: Path) -> None:
    LibraryFile.objects.filter(entry_id="photo").update(stated_sha256="0" * 64)
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("library", "verify", "photo", stdout=out)
    assert "It is not the file that its sidecar describes" in out.getvalue()


# ---------------------------------------------------------------- move


def test_move_takes_along_what_lies_beside_and_keeps_id_and_hashes(filled: Path) -> None:
    run("hash")
    before = LibraryFile.objects.get(entry_id="photo")
    run("move", "photo.safetensors", str(filled / "new" / "place"))
    report = scan_library()
    after = LibraryFile.objects.get(entry_id="photo")
    assert (report.added, report.missing) == (0, 0)
    assert (after.pk, after.sha256, after.relative_path) == (before.pk, before.sha256, "new/place/photo.safetensors")
    assert sorted(file.name for file in (filled / "new" / "place").iterdir()) == [
        "photo.civitai.info",
        "photo.preview.png",
        "photo.safetensors",
    ]


def test_move_refuses_what_would_lose_something(filled: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is in none of LIBRARY_DIRS"):
        run("move", "photo", str(tmp_path / "elsewhere"))
    write_bytes(filled / "full" / "photo.safetensors", b"another")
    with pytest.raises(CommandError, match=r"has a photo\.safetensors already"):
        run("move", "photo", str(filled / "full"))
    write_bytes(filled / "file", b"")
    with pytest.raises(CommandError, match="file: File exists"):
        run("move", "photo", str(filled / "file"))
    assert (filled / "photo.safetensors").exists()


# ---------------------------------------------------------------- doctor


def sentences() -> list[str]:
    return [f"{'BAD ' if finding.is_wrong else ''}{finding.text}" for finding in examine_folders()]


def test_doctor_says_what_a_folder_has(filled: Path) -> None:
    assert sentences() == [
        f"{filled} (plain): 2 files, 1 can be used (1 checkpoint)",
        f"BAD {filled}/sub/pointer.safetensors: It is a Git LFS pointer, not the file itself, which `git lfs pull` fetches.",
    ]


def test_doctor_says_what_is_wrong_with_a_folder(library: Path, tmp_path: Path, settings: Any) -> None:
    assert sentences()[0].startswith("BAD No files of models (.safetensors, .gguf, .ckpt")
    write_bytes(library / "old.ckpt", PICKLE)
    write_bytes(library / "older.pt", PICKLE)
    assert sentences()[1] == f"BAD {library} has pickles only (old.ckpt and 1 more), which are never opened."
    whole = write_lora(library / "ink.safetensors")
    whole.write_bytes(whole.read_bytes()[:-5])
    assert any("ink.safetensors: It is cut off: it should have" in sentence for sentence in sentences())
    settings.LIBRARY_DIRS = [tmp_path / "nowhere", whole]
    assert sentences() == [
        f"BAD The folder {tmp_path}/nowhere of LIBRARY_DIRS is not there.",
        f"BAD {whole} of LIBRARY_DIRS is a file, and no folder.",
    ]
    settings.LIBRARY_DIRS = []
    assert "LIBRARY_DIRS names no folder" in sentences()[0]


# ---------------------------------------------------------------- the thread


@pytest.mark.django_db(transaction=True)
def test_the_thread_finds_new_files_and_hashes_them(library: Path, settings: Any) -> None:
    settings.LIBRARY_SCAN_SECONDS = 1
    write_lora(library / "ink.safetensors")
    results: list[set[str]] = []
    thread = threading.Thread(target=lambda: results.append(follow.follow_once(set(), time.monotonic() + 60)))
    thread.start()
    thread.join()
    assert results == [set()]
    row = LibraryFile.objects.get()
    assert (row.entry_id, len(row.sha256)) == ("ink", 64)


@pytest.mark.django_db(transaction=True)
def test_hashing_ends_when_the_next_scan_is_due(library: Path) -> None:
    write_lora(library / "ink.safetensors")
    thread = threading.Thread(target=lambda: follow.follow_once(set(), time.monotonic()))
    thread.start()
    thread.join()
    assert LibraryFile.objects.get().sha256 == ""


@pytest.mark.django_db(transaction=True)
def test_the_thread_outlives_a_failure(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("the disk")

    monkeypatch.setattr(follow, "scan_library", fail)
    assert follow.follow_once({"known"}, 0.0) == {"known"}


def test_without_folders_there_is_no_thread(settings: Any) -> None:
    settings.LIBRARY_DIRS = []
    follow.start_following()
    assert "library" not in {thread.name for thread in threading.enumerate()}


# ---------------------------------------------------------------- settings


def test_a_folder_models_in_the_checkout_is_the_library_where_none_is_named(tmp_path: Path) -> None:
    import subprocess
    import sys

    from django.conf import settings

    program = (
        "import sys; from pathlib import Path; root = Path(sys.argv[1]); real = Path.is_dir\n"
        "Path.is_dir = lambda self: self.name == 'models' or real(self)\n"
        "import config.settings as s; print([str(folder.relative_to(s.BASE_DIR)) for folder in s.LIBRARY_DIRS])"
    )
    environment = {**os.environ, "LIBRARY_DIRS": "", "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['models']"
    environment["LIBRARY_DIRS"] = "~/one, two"
    done = subprocess.run(
        [sys.executable, "-c", "import config.settings as s; print(*s.LIBRARY_DIRS)"],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{Path.home()}/one {settings.BASE_DIR}/two"
