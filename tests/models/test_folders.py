"""Folders of the owner's own that hold no checkpoint: why is said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.catalog import ModelEntry
from api.downloads.snapshots import inspect_snapshot
from api.downloads.store import ModelStore
from api.errors import DarkroomError

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("dream.safetensors", "weights", "unsupported_checkpoint", "dream.safetensors is a single-file checkpoint"),
        ("dream.ckpt", "weights", "unsupported_checkpoint", "dream.ckpt holds pickled weights"),
        ("pytorch_model.bin", "weights", "unsupported_checkpoint", "pytorch_model.bin holds pickled weights"),
        ("dream.safetensors", POINTER, "damaged", "is a Git LFS pointer"),
        ("notes.txt", "hello", "unsupported_checkpoint", "neither a model_index.json nor a config.json"),
    ],
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_what_lies_there_instead_of_a_checkpoint_is_said(
    store: ModelStore, tmp_path: Path, name: str, content: str, code: str, said: str, as_folder: bool
) -> None:
    file = tmp_path / "mine" / name
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ModelEntry(id="mine", name="Mine", path=file.parent if as_folder else file))
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert said in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


def test_a_folder_of_another_task_is_told_what_it_lacks(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_text("weights")
    with pytest.raises(DarkroomError, match=r"neither a config\.json nor a model\.safetensors"):
        store.fetch(ModelEntry(id="mine", name="Mine", task="aesthetic-head", path=tmp_path))


def test_a_configuration_that_is_a_git_lfs_pointer_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(POINTER)
    with pytest.raises(DarkroomError, match=r"config.json of Mine is a Git LFS pointer"):
        inspect_snapshot(tmp_path, "Mine")
