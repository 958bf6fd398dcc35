"""Diffusers folders with a fault each: what is said names the file and the key, and no weights are read for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from api.catalog import BUILT_IN, Catalog, ModelEntry
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.checkpoints import check_checkpoint
from api.loading.weight_files import weight_files
from api.model_loader import ModelLoader
from tests.models.tiny import (
    build_tiny_clip,
    build_tiny_flux,
    build_tiny_sd,
    build_tiny_sd2,
    build_tiny_sd3,
    build_tiny_sdxl,
)
from tests.models.tiny_families import FAMILIES as CHAT_FAMILIES

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
FAMILIES = {
    "sd1": build_tiny_sd,
    "sd2": build_tiny_sd2,
    "sdxl": build_tiny_sdxl,
    "sd3": build_tiny_sd3,
    "flux": build_tiny_flux,
}


def check(folder: Path) -> None:
    check_checkpoint(ModelEntry(id="mine", name="Mine", path=folder), folder, weight_files(folder))


def fault(folder: Path) -> DarkroomError:
    with pytest.raises(DarkroomError) as caught:
        check(folder)
    assert str(folder) not in caught.value.detail
    return caught.value


def change(file: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.fixture
def sd1(tmp_path: Path) -> Path:
    return build_tiny_sd(tmp_path / "sd1")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_checkpoint_has_no_fault(tmp_path: Path, family: str) -> None:
    check(FAMILIES[family](tmp_path / family))


def test_the_built_in_checkpoint_has_no_fault() -> None:
    check(BUILT_IN.parents[1] / "starter" / "weights" / "starter")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_component_s_missing_tensor_is_named(tmp_path: Path, family: str) -> None:
    whole = FAMILIES[family](tmp_path / family)
    for file in weight_files(whole):
        folder = tmp_path / file.parent.name
        shutil.copytree(whole, folder)
        damaged = folder / file.relative_to(whole)
        key = max(load_file(damaged))
        change(damaged, lambda tensors, key=key: tensors.__delitem__(key))  # type: ignore[misc]

        error = fault(folder)

        assert (error.code, error.status) == ("broken_model", 422)
        assert f"{file.relative_to(whole)} lacks the tensor {key.removeprefix('text_model.')}" in error.detail


def test_loading_it_says_the_same(sd1: Path, tmp_path: Path) -> None:
    change(sd1 / UNET, lambda tensors: tensors.__delitem__("conv_out.bias"))
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    entry = ModelEntry(id="mine", name="Mine", path=sd1)

    with pytest.raises(DarkroomError, match=f"{UNET} lacks the tensor conv_out.bias"):
        ModelLoader(Catalog({"mine": entry}, {}), ModelStore(tmp_path / "models"), device).load("mine")


def test_a_tensor_of_another_shape_is_named_with_both(sd1: Path) -> None:
    change(sd1 / UNET, lambda tensors: tensors.update({"conv_in.bias": torch.ones(5)}))

    assert "the tensor conv_in.bias has the shape [5], and config.json of unet wants [16]" in fault(sd1).detail


def test_an_autoencoder_with_the_names_of_old_is_whole(sd1: Path) -> None:
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if "attentions" in key]:
            for new, old in names.items():
                if f".{new}." in key:
                    tensors[key.replace(new, old)] = tensors.pop(key)

    change(sd1 / "vae/diffusion_pytorch_model.safetensors", rename)
    check(sd1)


@pytest.mark.parametrize("nested", [True, False])
def test_a_text_encoder_with_either_prefix_is_whole(sd1: Path, nested: bool) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in list(tensors):
            tensor = tensors.pop(key)
            tensors[("text_model." if nested else "") + key.removeprefix("text_model.")] = tensor

    change(sd1 / TEXT, rename)
    check(sd1)


def delete_config(folder: Path) -> str:
    (folder / "vae/config.json").unlink()
    return "vae has no config.json"


def delete_folder(folder: Path) -> str:
    shutil.rmtree(folder / "vae")
    return "it has no folder vae"


def delete_index(folder: Path) -> str:
    (folder / "model_index.json").unlink()
    return "no model_index.json"


def delete_weights(folder: Path) -> str:
    (folder / UNET).unlink()
    return "unet has no weights in safetensors form"


def spoil_config(folder: Path) -> str:
    config = json.loads((folder / "unet/config.json").read_text())
    (folder / "unet/config.json").write_text(json.dumps({**config, "down_block_types": ["NoSuchBlock", "DownBlock2D"]}))
    return "no UNet2DConditionModel can be made from config.json of unet"


@pytest.mark.parametrize("spoil", [delete_config, delete_folder, delete_index, delete_weights, spoil_config])
def test_what_a_folder_lacks_is_said(sd1: Path, spoil: Callable[[Path], str]) -> None:
    said = spoil(sd1)

    error = fault(sd1)

    assert (error.code, error.status) == ("broken_model", 422)
    assert said in error.detail


def test_a_git_lfs_pointer_is_told_from_damaged_weights(sd1: Path) -> None:
    (sd1 / UNET).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")

    error = fault(sd1)

    assert (error.code, error.status) == ("damaged", 422)
    assert f"The file {UNET} of Mine is damaged: it is a Git LFS pointer" in error.detail


def test_pickled_weights_alone_are_named_with_the_way_to_convert_them(sd1: Path) -> None:
    (sd1 / UNET).rename(sd1 / "unet/diffusion_pytorch_model.bin")

    error = fault(sd1)

    assert (error.code, error.status) == ("unsafe_files", 422)
    assert "unet has pickled weights only (diffusion_pytorch_model.bin)" in error.detail
    assert "save_pretrained" in error.detail


def loader_of(entry: ModelEntry, folder: Path) -> ModelLoader:
    device = Device("cpu", 0, "test", torch.float32, channels_last=True, memory_total=2**33)
    return ModelLoader(Catalog({entry.id: entry}, {}), ModelStore(folder / "models"), device)


def take_away(tensors: dict[str, torch.Tensor]) -> str:
    key = next(key for key in tensors if "layers" in key)
    del tensors[key]
    return "lack the tensor"


def reshape(tensors: dict[str, torch.Tensor]) -> str:
    key = next(key for key in tensors if "layers" in key and tensors[key].ndim == 1)
    tensors[key] = torch.ones(3)
    return "has the shape [3], and config.json wants"


@pytest.mark.parametrize("edit", [take_away, reshape])
@pytest.mark.parametrize("task", ["zero-shot-image-classification", "text-generation", "image-text-to-text"])
def test_a_clip_or_chat_model_is_never_completed_at_random(
    tmp_path: Path, task: str, edit: Callable[[dict[str, torch.Tensor]], str]
) -> None:
    builders: dict[str, Callable[[Path], Any]] = {
        "zero-shot-image-classification": build_tiny_clip,
        "text-generation": CHAT_FAMILIES["mistral"][1],
        "image-text-to-text": CHAT_FAMILIES["llava"][1],
    }
    folder = tmp_path / "model"
    builders[task](folder)
    tensors = load_file(folder / "model.safetensors")
    said = edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(DarkroomError) as caught:
        loader_of(ModelEntry(id="mine", name="Mine", task=task, path=folder), tmp_path).load("mine")

    assert (caught.value.code, caught.value.status) == ("broken_model", 422)
    assert said in caught.value.detail
