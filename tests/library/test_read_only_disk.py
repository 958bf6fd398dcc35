"""Folders of LIBRARY_DIRS on a disk that takes no writes: a share, a disk image, a mount with `ro`."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.library.files import VAE, write_bytes, write_checkpoint, write_file, write_lora
from tests.live import ROOT

MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
OWN_MOUNTS = ["unshare", "--mount", "sh", "-c", MOUNT, "sh"]


def can_mount(folder: Path) -> bool:
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*OWN_MOUNTS, folder, "true"], capture_output=True).returncode
    )


def test_a_read_only_disk_is_read_like_any_other(tmp_path: Path) -> None:
    library, other, data = (tmp_path / name for name in ("library", "other", "data"))
    for folder in (library, other, data):
        folder.mkdir()
    if not can_mount(library):
        pytest.skip("this account may mount nothing")
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    write_checkpoint(library / "photo.safetensors")
    write_file(library / "photo.vae.safetensors", VAE)
    write_bytes(library / "photo.preview.png", picture.getvalue())
    write_lora(library / "ink.safetensors")
    before = {file: file.stat().st_mtime_ns for file in library.iterdir()}
    environment = {
        **os.environ,
        "DATA_DIR": str(data),
        "LIBRARY_DIRS": f"{library},{other}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    command = [sys.executable, "-m", "tests.library.read_only_disk", library, other]
    done = subprocess.run(
        [*OWN_MOUNTS, library, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("thumbnail") > 0
    assert found.pop("wrong") == [
        f"No files of models (.safetensors, .gguf, .ckpt, .pt, .pth, .bin) are recognised in {other}."
    ]
    assert found == {
        "writable": False,
        "added": [3, 0],
        "problems": [],
        "hashed": 3,
        "moved": f"{library} can't be written to, so that nothing can be moved out of it.",
        "left": [],
        "vae": "photo.vae.safetensors",
    }
    assert {file: file.stat().st_mtime_ns for file in library.iterdir()} == before
