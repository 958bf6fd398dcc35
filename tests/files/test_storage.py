"""Files are whole or not there, and a full disk is survived: promises 6 and 7."""

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.errors import DarkroomError
from api.files import durable, storage
from api.files.errors import DiskFull
from api.files.storage import ensure_free_space, remove_written, write_file, write_image_files
from tests.files.conftest import encode, files_below, picture

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8))


def test_a_picture_lies_in_the_folder_of_its_day_with_its_thumbnail(media: Path) -> None:
    image = picture((800, 200))
    written = write_image_files(encode(image), image, "png")
    year, month, day = written.name.split("/")[1:4]
    assert written.name == f"output/{year}/{month}/{day}/{written.id}.png"
    assert written.thumbnail_name == f"output/{year}/{month}/{day}/{written.id}_t.webp"
    assert files_below(media) == sorted([written.name, written.thumbnail_name])
    assert (media / written.name).read_bytes() == encode(image)
    assert (written.width, written.height, written.size) == (800, 200, len(encode(image)))


@pytest.mark.parametrize(
    ("size", "expected"), [((800, 200), (384, 96)), ((200, 800), (96, 384)), ((100, 50), (100, 50)), ((5000, 1), (384, 1))]
)
def test_a_thumbnail_has_384_pixels_on_its_long_side_at_most(media: Path, size: Any, expected: Any) -> None:
    image = picture(size)
    written = write_image_files(encode(image), image, "png")
    with Image.open(media / written.thumbnail_name) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "RGB"])
def test_every_mode_has_a_thumbnail(media: Path, mode: str) -> None:
    image = picture().convert(mode)
    assert (media / write_image_files(encode(image), image, "png").thumbnail_name).exists()


def test_what_was_written_can_be_taken_back(media: Path) -> None:
    remove_written(write_image_files(encode(picture()), picture(), "png"))
    assert files_below(media) == []


def test_the_id_can_be_chosen() -> None:
    identifier = storage.uuid7()
    assert str(identifier) in write_image_files(encode(picture()), picture(), "png", id=identifier).name


@pytest.fixture
def disk_calls(media: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Syncs and renames as they are made."""
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (calls.append(f"fsync {os.path.relpath(os.readlink(f'/proc/self/fd/{fd}'), media)}"), real_fsync(fd)),
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), real_replace(a, b)))
    media.mkdir(parents=True)
    return calls


def test_file_and_folders_are_on_disk_before_the_name_is_returned(disk_calls: list[str]) -> None:
    write_file("output/2026", b"x", ".png", stem="a")
    assert disk_calls == ["fsync .", "fsync output", "fsync output/2026/a.png.part", "rename", "fsync output/2026"]


def test_a_picture_and_its_thumbnail_share_the_sync_of_their_folder_which_comes_last(disk_calls: list[str]) -> None:
    write_image_files(encode(picture()), picture(), "png")
    disk_calls.clear()
    written = write_image_files(encode(picture()), picture(), "png")
    folder = os.path.dirname(written.name)
    expected = [f"fsync {written.name}.part", "rename", f"fsync {written.thumbnail_name}.part", "rename", f"fsync {folder}"]
    assert disk_calls == expected
    disk_calls.clear()
    write_file(folder, b"x", ".png", stem="b")
    assert disk_calls[-1] == f"fsync {folder}", "a file that is written alone has its folder synced at once"


def test_a_folder_that_cannot_be_synced_is_told_and_its_picture_is_taken_back(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file("output", b"x", ".png", stem="before")

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    written_files = []
    monkeypatch.setattr(durable, "make_folder", lambda folder: folder.mkdir(parents=True, exist_ok=True))
    monkeypatch.setattr(durable, "sync_folder", lambda folder: (written_files.extend(files_below(media)), full(folder)))
    with pytest.raises(DiskFull):
        write_image_files(encode(picture()), picture(), "png")
    assert len(written_files) == 3
    assert files_below(media) == ["output/before.png"]


# A full disk


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow past `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_finds_no_room_leaves_nothing(media: Path) -> None:
    with largest_file(100), pytest.raises(DiskFull):
        write_file("output/2026", b"x" * 101, ".png")
    assert files_below(media) == []


def test_a_picture_whose_thumbnail_finds_no_room_leaves_nothing(media: Path) -> None:
    small = b"not looked at"
    with largest_file(100), pytest.raises(DiskFull):
        write_image_files(small, NOISE, "png")
    assert files_below(media) == []


def test_the_next_picture_is_written_when_there_is_room_again(media: Path) -> None:
    with largest_file(100), pytest.raises(DiskFull):
        write_image_files(encode(NOISE), NOISE, "png")
    write_image_files(encode(NOISE), NOISE, "png")
    assert len(files_below(media)) == 2


@pytest.fixture
def tiny_disk(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    settings.MEDIA_ROOT = folder / "media"
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_truly_full_disk_is_told_and_leaves_nothing(tiny_disk: Path) -> None:
    with pytest.raises(DiskFull):
        write_image_files(encode(NOISE), NOISE, "png")
    assert files_below(tiny_disk) == []


def test_below_the_floor_new_work_is_refused_while_there_still_is_room(tiny_disk: Path, settings: Any) -> None:
    settings.MIN_FREE_DISK_BYTES = 64 * 1024
    ensure_free_space()
    write_file("output/2026", b"x" * 200 * 1024, ".png")
    with pytest.raises(DiskFull):
        ensure_free_space()
    write_file("output/2026", b"x" * 1024, ".png")


def test_a_full_disk_is_507_for_a_request_and_for_a_job() -> None:
    error = DiskFull()
    assert isinstance(error, DarkroomError)
    assert isinstance(error, DarkroomError)
    assert (error.status, error.code, error.headers) == (507, "disk_full", {})
    assert error.to_json() == {"code": "disk_full", "status": 507, "detail": str(error)}
