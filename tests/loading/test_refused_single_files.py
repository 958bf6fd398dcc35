"""A checkpoint in one file that can't be used is refused, with what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.pipelines import build_pipeline
from tests.loading import originals
from tests.loading.single_file_models import refusal, single_file

pytestmark = pytest.mark.usefixtures("no_sockets")

Q = f"{originals.UNET}middle_block.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({Q: None}, "unet in sd1.safetensors does not fit a model of its kind: it lacks the tensor mid_block.attentions.0"),
        ({Q: torch.zeros(8, 8)}, f"the tensor {Q} has the shape [8, 8], and [32, 32] is wanted"),
        ({f"{originals.UNET}input_blocks.9.0.in_layers.0.weight": torch.zeros(4)}, f"no place there, such as {originals.UNET}input_b"),
        ({f"{originals.UNET}mystery": torch.zeros(4)}, f"no place there, such as {originals.UNET}mystery"),
        ({f"{originals.VAE}decoder.norm_out.weight": None}, "vae in sd1.safetensors"),
        ({"cond_stage_model.transformer.text_model.final_layer_norm.weight": None}, "text_encoder in sd1.safetensors"),
        ({Q: torch.full((32, 32), torch.nan)}, f"{Q} in sd1.safetensors has values that are not numbers"),
        ({Q: torch.full((32, 32), torch.inf)}, "has values that are not numbers"),
        ({Q: torch.zeros(32, 32, dtype=torch.int8)}, "is of the dtype I8"),
        ({f"{originals.UNET}input_blocks.0.0.weight": torch.zeros(16, 8, 3, 3)}, "a picture to edit by an instruction"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_by_component_and_key(
    folders: Path, device: Device, changes: dict[str, torch.Tensor | None], said: str
) -> None:
    tensors = originals.sd1(folders / "sd1")
    kept = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
    file = originals.write(folders / "sd1.safetensors", kept)
    assert said in refusal(folders, device, "sd1", file)


def test_no_weights_are_read_before_the_header_fits(folders: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.loading.single_files.weights.safe_open", None)
    tensors = {name: tensor for name, tensor in originals.sd1(folders / "sd1").items() if name != Q}
    assert "lacks the tensor" in refusal(folders, device, "sd1", originals.write(folders / "sd1.safetensors", tensors))


def test_values_too_large_for_half_precision_are_named(folders: Path, device: Device) -> None:
    half = replace(device, dtype=torch.float16)
    file = single_file(folders / "sd1", "sd1", **{Q: torch.full((32, 32), 1e6)})
    assert f"{Q} in sd1.safetensors has values too large for float16" in refusal(folders, half, "sd1", file)


def test_averaged_weights_alone_are_refused(folders: Path, tmp_path: Path, device: Device) -> None:
    tensors = {
        name.replace(originals.UNET, "model_ema.diffusion_model"): tensor
        for name, tensor in originals.sd1(folders / "sd1").items()
    }
    detail = refusal(folders, device, "sd1", originals.write(tmp_path / "x.safetensors", tensors))
    assert "averaged weights" in detail


def test_a_lora_is_told_where_it_belongs(folders: Path, tmp_path: Path, device: Device) -> None:
    file = originals.write(tmp_path / "x.safetensors", {"lora_unet_x.lora_down.weight": torch.zeros(4, 4)})
    assert "[adapters]" in refusal(folders, device, "sd1", file)


def test_a_family_that_the_catalog_says_otherwise_is_refused(folders: Path, device: Device) -> None:
    detail = refusal(folders, device, "sd1", single_file(folders / "sd1", "sd1"), family="sdxl")
    assert "the catalog says that it is sdxl, and sd1.safetensors is sd1" in detail


@pytest.mark.parametrize(
    ("prefix", "said"),
    [(originals.VAE, "it has no vae; name one in the catalog"), ("cond_stage_model.", "it has no text_encoder; name a model")],
)
def test_a_part_that_is_nowhere_is_named_with_the_remedy(
    folders: Path, tmp_path: Path, device: Device, prefix: str, said: str
) -> None:
    tensors = {name: tensor for name, tensor in originals.sd1(folders / "sd1").items() if not name.startswith(prefix)}
    file = originals.write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(DarkroomError) as caught:
        build_pipeline(ModelEntry(id="mine", name="Mine", path=file, single_file=True), file, device)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x80\x02" + bytes(40), "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
    ],
)
def test_a_damaged_file_says_how(folders: Path, tmp_path: Path, device: Device, content: bytes, said: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    detail = refusal(folders, device, "sd1", tmp_path / "x.safetensors")
    assert "The file x.safetensors of Mine is damaged" in detail
    assert said in detail


def test_a_file_cut_off_is_refused(folders: Path, device: Device) -> None:
    file = single_file(folders / "sd1", "sd1")
    file.write_bytes(file.read_bytes()[:-100])
    assert "cut off" in refusal(folders, device, "sd1", file)
