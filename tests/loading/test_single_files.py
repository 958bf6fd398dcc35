"""A checkpoint in one file gives the pictures that the same weights give from diffusers' folder, offline."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.errors import DarkroomError
from api.loading.device_memory import weight_bytes
from api.loading.pipelines import build_pipeline, estimate_bytes, pipeline_for_task
from tests.loading import originals
from tests.models.tiny import (
    build_tiny_inpainting_sd,
    build_tiny_inpainting_sdxl,
    build_tiny_sd,
    build_tiny_sd2,
    build_tiny_sd3,
    build_tiny_sdxl,
)

FP8 = torch.float8_e4m3fn
FAMILIES: dict[str, tuple[Callable[..., Path], Callable[[Path], originals.Tensors]]] = {
    "sd1": (build_tiny_sd, originals.sd1),
    "sd2": (build_tiny_sd2, originals.sd2),
    "sdxl": (build_tiny_sdxl, originals.sdxl),
    "sd3": (build_tiny_sd3, originals.sd3),
}


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a load must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def device() -> Device:
    return Device("cpu", 0, "CPU", torch.float32, False, 2**34)


def entry_of(file: Path, **fields: Any) -> ModelEntry:
    return ModelEntry(id="mine", name="Mine", path=file, single_file=True, base="base", **fields)


def folder_entry(folder: Path) -> ModelEntry:
    return ModelEntry(id="folder", name="Folder", path=folder)


def picture(pipeline: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    options = {"max_sequence_length": 77} if hasattr(pipeline, "text_encoder_3") else {}
    made = pipeline(
        "a red cat at sunset", num_inference_steps=2, height=64, width=64, generator=generator, output_type="pt", **options
    )
    return made.images


def single_file(folder: Path, family: str, **changes: torch.Tensor) -> Path:
    """The file that has the weights of a folder, with some tensors replaced or added."""
    tensors = FAMILIES[family][1](folder) | changes
    return originals.write(folder.parent / f"{family}.safetensors", tensors)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd1`, `sdxl` … and, with other weights, `sd1-base` …, which entries name as their base."""
    root = tmp_path_factory.mktemp("folders")
    for family, (build, _) in FAMILIES.items():
        build(root / family)
        build(root / f"{family}-base", seed=1)
    return root


def load(folders: Path, device: Device, base: str, file: Path, **fields: Any) -> Any:
    return build_pipeline(entry_of(file, **fields), file, device, folders / f"{base}-base")


def refusal(folders: Path, device: Device, base: str, file: Path, **fields: Any) -> str:
    with pytest.raises(DarkroomError) as caught:
        load(folders, device, base, file, **fields)
    assert caught.value.status == 422
    assert str(folders) not in caught.value.detail
    return caught.value.detail


# -- Equal pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_is_the_folder_s(folders: Path, device: Device, family: str) -> None:
    file = single_file(folders / family, family)
    single = load(folders, device, family, file)
    whole = build_pipeline(folder_entry(folders / family), folders / family, device)
    assert {name: type(part) for name, part in single.components.items()} == {
        name: type(part) for name, part in whole.components.items()
    }
    assert torch.equal(picture(single), picture(whole))
    estimate = estimate_bytes(entry_of(file), file, device, folders / f"{family}-base")
    assert estimate == pytest.approx(weight_bytes(single), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, FP8])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_other_precisions_are_loaded_as_a_folder_s_are(
    folders: Path, tmp_path: Path, device: Device, family: str, dtype: torch.dtype
) -> None:
    tensors = originals.cast(FAMILIES[family][1](folders / family), dtype)
    single = load(folders, device, family, originals.write(tmp_path / "x.safetensors", tensors))
    whole = build_pipeline(folder_entry(folders / family), folders / family, device)
    for name in ("unet", "vae", "text_encoder"):
        part = getattr(whole, name)
        part.load_state_dict(originals.cast(originals.cast(part.state_dict(), dtype), torch.float32))
        assert all(
            torch.equal(one, other) for one, other in zip(getattr(single, name).parameters(), part.parameters(), strict=True)
        )
    assert torch.isfinite(picture(single)).all()


def test_weights_in_scaled_fp8_are_scaled(folders: Path, tmp_path: Path, device: Device) -> None:
    tensors = FAMILIES["sd1"][1](folders / "sd1")
    whole = build_pipeline(folder_entry(folders / "sd1"), folders / "sd1", device)
    linear = [name for name in tensors if name.startswith(originals.UNET) and name.endswith("attn1.to_q.weight")]
    for name in linear:
        scale = tensors[name].abs().max() / 448
        tensors[name] = (tensors[name] / scale).to(FP8)
        tensors[name.replace(".weight", ".scale_weight")] = scale
    tensors["scaled_fp8"] = torch.zeros(2, dtype=FP8)
    single = load(folders, device, "sd1", originals.write(tmp_path / "x.safetensors", tensors))
    for name, weight in whole.unet.named_parameters():
        tolerance = 0.07 * float(weight.detach().abs().max()) if name.endswith("attn1.to_q.weight") else 0
        assert (dict(single.unet.named_parameters())[name] - weight).abs().max() <= tolerance


def test_averaged_weights_beside_the_plain_ones_are_dropped(folders: Path, device: Device) -> None:
    averaged = {f"model_ema.{number}": torch.full((4,), 9.0) for number in range(200)}
    single = load(folders, device, "sd1", single_file(folders / "sd1", "sd1", **averaged))
    whole = build_pipeline(folder_entry(folders / "sd1"), folders / "sd1", device)
    assert torch.equal(picture(single), picture(whole))


def test_a_denoiser_alone_takes_the_other_parts_of_its_base(folders: Path, tmp_path: Path, device: Device) -> None:
    for prefix in (originals.UNET, ""):
        tensors = originals.prefixed(prefix, originals.unet(originals.read(folders / "sd1", "unet")))
        single = load(folders, device, "sd1", originals.write(tmp_path / "x.safetensors", tensors))
        own, base = originals.read(folders / "sd1", "unet"), originals.read(folders / "sd1-base", "vae")
        assert all(torch.equal(weight, own[name]) for name, weight in single.unet.state_dict().items())
        assert all(torch.equal(weight, base[name]) for name, weight in single.vae.state_dict().items())


def test_a_denoiser_that_diffusers_saved_is_loaded_too(folders: Path, device: Device) -> None:
    [file] = (folders / "sd3" / "transformer").glob("*.safetensors")
    single = load(folders, device, "sd3", file)
    own = originals.read(folders / "sd3", "transformer")
    assert all(torch.equal(weight, own[name]) for name, weight in single.transformer.state_dict().items())


INPAINTING: dict[str, Callable[..., Path]] = {
    "sd1": build_tiny_inpainting_sd,
    "sd2": build_tiny_inpainting_sd,  # which predicts the noise, unlike the plain one
    "sdxl": build_tiny_inpainting_sdxl,
}


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("family", INPAINTING)
def test_a_file_for_inpainting_gives_the_folder_s_pictures(
    folders: Path, tmp_path: Path, device: Device, family: str, strength: float
) -> None:
    folder = INPAINTING[family](tmp_path / family)
    base = INPAINTING[family](tmp_path / "base", seed=1)
    file = originals.write(tmp_path / "x.safetensors", FAMILIES[family][1](folder))
    single = build_pipeline(entry_of(file), file, device, base)
    whole = build_pipeline(folder_entry(folder), folder, device)
    assert type(single) is type(pipeline_for_task(whole, "inpainting"))
    assert single.unet.config.in_channels == 9
    assert torch.equal(inpainted(single, strength), inpainted(whole, strength))


def inpainted(pipeline: Any, strength: float) -> torch.Tensor:
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    made = pipeline_for_task(pipeline, "inpainting")(
        "a red cat at sunset",
        image=noise[None],
        mask_image=mask[None],
        strength=strength,
        num_inference_steps=4,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
    )
    return made.images


def test_the_file_may_vanish_once_it_is_loaded(folders: Path, device: Device, tmp_path: Path) -> None:
    file = single_file(folders / "sd1", "sd1").replace(tmp_path / "x.safetensors")
    single = load(folders, device, "sd1", file)
    before = picture(single)
    file.write_bytes(b"")
    assert torch.equal(picture(single), before)


# -- Text encoders of their own ----------------------------------------------------------------------------------------------


@pytest.fixture
def encoders(folders: Path, tmp_path: Path) -> dict[str, Path]:
    """As ComfyUI's folder `clip` has them."""
    own = {"clip_l": originals.with_tower(originals.read(folders / "sd3", "text_encoder"))}
    own["t5xxl"] = originals.read(folders / "sd3", "text_encoder_3")
    return {name: originals.write(tmp_path / f"{name}.safetensors", tensors) for name, tensors in own.items()}


def test_text_encoders_are_taken_from_the_files_that_the_entry_names(
    folders: Path, device: Device, encoders: dict[str, Path]
) -> None:
    [transformer] = (folders / "sd3" / "transformer").glob("*.safetensors")
    named = tuple(map(str, encoders.values()))
    single = load(folders, device, "sd3", transformer, text_encoders=named)
    whole = build_pipeline(folder_entry(folders / "sd3"), folders / "sd3", device)
    base = build_pipeline(folder_entry(folders / "sd3-base"), folders / "sd3-base", device)
    whole.register_modules(text_encoder_2=base.text_encoder_2, vae=base.vae)
    assert torch.equal(picture(single), picture(whole))


@pytest.mark.parametrize(
    ("family", "names", "said"),
    [
        ("sd3", ["clip_l", "clip_l"], "its text encoder clip_l.safetensors is the second of its kind"),
        ("sd1", ["t5xxl"], "its text encoder t5xxl.safetensors is none that a model of its family has"),
    ],
)
def test_a_text_encoder_that_has_no_place_is_named(
    folders: Path, device: Device, encoders: dict[str, Path], family: str, names: list[str], said: str
) -> None:
    named = tuple(str(encoders[name]) for name in names)
    assert said in refusal(folders, device, family, single_file(folders / family, family), text_encoders=named)


# -- The VAE -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def other_vae(folders: Path) -> originals.Tensors:
    return originals.read(folders / "sd1-base", "vae")


def has_vae(pipeline: Any, tensors: originals.Tensors) -> bool:
    return all(torch.equal(weight, tensors[name]) for name, weight in pipeline.vae.state_dict().items())


@pytest.mark.parametrize("prefix", ["", originals.VAE])
def test_the_entry_chooses_a_vae(
    folders: Path, tmp_path: Path, device: Device, other_vae: originals.Tensors, prefix: str
) -> None:
    vae = originals.write(tmp_path / "vae.safetensors", originals.prefixed(prefix, originals.vae(other_vae)))
    assert has_vae(load(folders, device, "sd1", single_file(folders / "sd1", "sd1"), vae=str(vae)), other_vae)


def test_a_vae_beside_the_checkpoint_is_taken(
    folders: Path, tmp_path: Path, device: Device, other_vae: originals.Tensors
) -> None:
    file = single_file(folders / "sd1", "sd1").replace(tmp_path / "mine.safetensors")
    originals.write(tmp_path / "mine.vae.safetensors", originals.vae(other_vae))
    assert has_vae(load(folders, device, "sd1", file), other_vae)


def test_a_vae_of_another_family_is_refused(folders: Path, tmp_path: Path, device: Device) -> None:
    vae = originals.write(tmp_path / "vae.safetensors", originals.vae(originals.read(folders / "sd3", "vae")))
    detail = refusal(folders, device, "sd1", single_file(folders / "sd1", "sd1"), vae=str(vae))
    assert "vae in vae.safetensors does not fit" in detail


def test_a_vae_that_is_not_there_is_named(folders: Path, device: Device) -> None:
    assert "its `vae`" in refusal(folders, device, "sd1", single_file(folders / "sd1", "sd1"), vae="nowhere.safetensors")


# -- Noise -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "metadata", "fields", "wanted"),
    [
        ({}, {}, {}, ("epsilon", False)),
        ({"v_pred": torch.zeros(1)}, {}, {}, ("v_prediction", False)),
        ({"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}, {}, {}, ("v_prediction", True)),
        ({}, {"modelspec.prediction_type": "v"}, {}, ("v_prediction", False)),
        ({}, {}, {"prediction": "v_prediction", "zero_terminal_snr": True}, ("v_prediction", True)),
        ({"v_pred": torch.zeros(1)}, {}, {"prediction": "epsilon"}, ("epsilon", False)),
    ],
)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_scheduler_is_told_what_the_model_predicts(
    folders: Path,
    tmp_path: Path,
    device: Device,
    family: str,
    tensors: originals.Tensors,
    metadata: dict[str, str],
    fields: dict[str, Any],
    wanted: tuple[str, bool],
) -> None:
    everything = FAMILIES[family][1](folders / family) | tensors
    file = originals.write(tmp_path / "x.safetensors", everything, metadata)
    config = load(folders, device, family, file, **fields).scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == wanted
    if wanted[1]:
        assert config.timestep_spacing == "trailing"


# -- What is refused ---------------------------------------------------------------------------------------------------------

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
