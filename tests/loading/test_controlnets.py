"""ControlNets from a folder, and from one file in either way of naming tensors: the same network."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading import controlnets
from api.loading.controlnets import build_controlnet, estimate_bytes
from api.model_files.header import read_header
from api.model_files.identify import identify
from tests.loading import originals
from tests.models.tiny import build_tiny_sd, build_tiny_sdxl
from tests.models.tiny_control import build_tiny_control

FAMILIES = {"sd1": build_tiny_sd, "sdxl": build_tiny_sdxl}
DEVICE = Device("cpu", 0, "CPU", torch.float32, False, 2**34)


def entry_of(path: Path, family: str = "sd1") -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", task="controlnet", family=family, path=path, single_file=path.is_file())


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ControlNet whose family has, for once, the sizes of the tiny models."""
    model = FAMILIES[family](tmp_path / family)
    shutil.copytree(model / "unet", tmp_path / "families" / family / "unet")
    monkeypatch.setattr(controlnets, "FAMILIES", tmp_path / "families")
    return build_tiny_control(tmp_path / "control", model)


def original(tensors: originals.Tensors) -> originals.Tensors:
    """By the names of the first release (lllyasviel's)."""
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("controlnet_")}
    found = originals.unet(own)
    hints = sorted(
        {int(match[1]) for name in tensors if (match := re.match(r"controlnet_cond_embedding\.blocks\.(\d+)\.", name))}
    )
    ends = {"controlnet_mid_block": "middle_block_out.0", "controlnet_cond_embedding.conv_in": "input_hint_block.0"}
    ends["controlnet_cond_embedding.conv_out"] = f"input_hint_block.{2 * len(hints) + 2}"
    ends |= {f"controlnet_cond_embedding.blocks.{number}": f"input_hint_block.{2 * number + 2}" for number in hints}
    for name, tensor in tensors.items():
        if match := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", name):
            found[f"zero_convs.{match[1]}.0.{match[2]}"] = tensor
        elif name.startswith("controlnet_"):
            found[originals.replaced(name, ends)] = tensor
    return found


def weights_of(folder: Path) -> originals.Tensors:
    [file] = folder.glob("*.safetensors")
    return originals.load_file(file)


def same(one: ControlNetModel, other: ControlNetModel) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_folder_is_what_diffusers_loads(folder: Path, family: str) -> None:
    built = build_controlnet(entry_of(folder, family), folder, DEVICE)
    assert same(built, ControlNetModel.from_pretrained(folder))
    assert estimate_bytes(entry_of(folder, family), folder, DEVICE) == sum(p.nbytes for p in built.parameters())


def test_one_file_in_diffusers_names_needs_no_configuration(folder: Path, family: str, tmp_path: Path) -> None:
    file = originals.write(tmp_path / "mine.safetensors", weights_of(folder))
    assert identify(read_header(file), file.name).kind == "controlnet"
    assert same(build_controlnet(entry_of(file, family), file, DEVICE), ControlNetModel.from_pretrained(folder))


@pytest.mark.parametrize("prefix", ["", "control_model."])
def test_one_file_in_the_original_names_is_the_same_network(folder: Path, family: str, prefix: str, tmp_path: Path) -> None:
    file = originals.write(tmp_path / "mine.safetensors", originals.prefixed(prefix, original(weights_of(folder))))
    built = build_controlnet(entry_of(file, family), file, DEVICE)
    assert same(built, ControlNetModel.from_pretrained(folder))


def test_the_folders_configuration_is_found_beside_the_file(folder: Path) -> None:
    [file] = folder.glob("*.safetensors")
    assert same(build_controlnet(entry_of(file), file, DEVICE), ControlNetModel.from_pretrained(folder))


def test_a_file_that_lacks_a_tensor_is_refused_before_its_weights_are_read(folder: Path, family: str, tmp_path: Path) -> None:
    tensors = weights_of(folder)
    del tensors["controlnet_mid_block.weight"]
    file = originals.write(tmp_path / "mine.safetensors", tensors)
    with pytest.raises(DarkroomError) as caught:
        build_controlnet(entry_of(file, family), file, DEVICE)
    assert caught.value.code == "broken_model"
    assert "controlnet_mid_block.weight" in caught.value.detail


def test_a_folder_of_another_class_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_class_name": "ControlNetXSAdapter"}))
    with pytest.raises(DarkroomError, match="ControlNetXSAdapter"):
        build_controlnet(entry_of(folder), folder, DEVICE)
