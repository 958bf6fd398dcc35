"""A checkpoint in one file gives the pictures that the same weights give from diffusers' folder, offline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from api.catalog import ModelEntry
from api.devices import Device
from api.loading.device_memory import weight_bytes
from api.loading.pipelines import build_pipeline, estimate_bytes, pipeline_for_task
from tests.loading import originals
from tests.loading.single_file_models import FAMILIES, entry_of, load, refusal, single_file
from tests.models.tiny import (
    build_tiny_inpainting_sd,
    build_tiny_inpainting_sdxl,
)

pytestmark = pytest.mark.usefixtures("no_sockets")
FP8 = torch.float8_e4m3fn


def folder_entry(folder: Path) -> ModelEntry:
    return ModelEntry(id="folder", name="Folder", path=folder)


def picture(pipeline: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    options = {"max_sequence_length": 77} if hasattr(pipeline, "text_encoder_3") else {}
    made = pipeline(
        "a red cat at sunset", num_inference_steps=2, height=64, width=64, generator=generator, output_type="pt", **options
    )
    return made.images


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
