"""What a request says of an adapter, and what its file says of itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from api.catalog import AdapterEntry, Catalog
from api.devices import Device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.images.backends.adapters import apply_adapters, remove_adapters
from api.images.backends.lora_alphas import Alphas
from api.images.backends.lora_changes import Lora
from api.images.backends.lora_files import check_family, tells_families_apart
from api.model_loader import ModelLoader
from tests.backends.lora_files import layers_of, make_factors, write, write_kohya, write_peft
from tests.backends.lora_forms import make_file, state_of
from tests.backends.test_adapters import ALPHAS, assert_scaled, is_xl, loader_with, lora, picture
from tests.models.tiny import build_tiny_lora

# -- Strengths by part ---------------------------------------------------------------------------------------------------------


def test_the_denoiser_and_the_text_encoders_have_strengths_of_their_own(pipeline: Any, tmp_path: Path) -> None:
    factors = make_factors(layers_of(pipeline))
    file = write_kohya(
        tmp_path / "lora.safetensors", factors, ALPHAS["resized (alpha is half of the rank)"], xl=is_xl(pipeline)
    )

    assert apply_adapters(pipeline, [Lora("mine", file, 1.5, unet=0.5, text=-1.0)]) == []
    assert_scaled(pipeline, factors, [0.25 if name.startswith("unet") else -0.5 for name in factors])

    assert apply_adapters(pipeline, [Lora("mine", file, 1.5, text=0.0)]) == []
    assert_scaled(pipeline, factors, [0.75 if name.startswith("unet") else 0.0 for name in factors])


def test_a_strength_of_zero_leaves_a_part_as_it_is(loader: ModelLoader) -> None:
    entry = {"model_id": "sd1", "seeds": (3,)}

    assert picture(loader, loras=(("bold", 1.0, 0.0),), **entry) == picture(loader, **entry)
    assert picture(loader, loras=(("bold", 0.0, 1.0),), **entry) == picture(loader, loras=(("bold", 1.0),), **entry)


@pytest.mark.parametrize(("part", "of_file", "said"), [("text", "unet", "text encoders"), ("unet", "text_encoder", "denoiser")])
def test_a_strength_for_a_part_that_the_file_does_not_change_is_told(
    sd1: Any, tmp_path: Path, part: str, of_file: str, said: str
) -> None:
    factors = {name: pair for name, pair in make_factors(layers_of(sd1)).items() if name.startswith(f"{of_file}.")}
    file = write_kohya(tmp_path / "lora.safetensors", factors, ALPHAS["uniform"])

    [note] = apply_adapters(sd1, [Lora("mine", file, 1.0, **{part: 0.5})])

    assert note == f"loras: `{part}` has no effect with 'mine', which changes nothing in the {said}."


# -- Whose file it is ----------------------------------------------------------------------------------------------------------


def test_a_file_of_another_family_is_a_400_that_names_both_though_some_layers_fit(
    tiny_catalog: Catalog, tmp_path: Path
) -> None:
    sd1 = tiny_catalog.models["sd1"]
    assert sd1.path is not None
    file = build_tiny_lora(tmp_path, sd1.path)
    second = {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(4, 32)}
    write(file, {**load_file(file), **second})
    entry = AdapterEntry(id="mine", name="mine", family="sd1", path=file)

    with pytest.raises(DarkroomError, match=r"'mine' is made for SDXL, and sd1 is SD 1\.x") as raised:
        check_family(entry, file, sd1)

    assert (raised.value.code, raised.value.status, raised.value.field) == ("lora_mismatch", 400, "loras")


@pytest.mark.parametrize(
    ("file", "model", "is_told"),
    [("sdxl", "sd1", True), ("flux", "sdxl", True), ("sd1", "flux", True), ("sd3", "flux", False), ("", "sd1", False)],
)
def test_families_that_share_names_are_told_apart_by_their_shapes(file: str, model: str, is_told: bool) -> None:
    assert tells_families_apart(file, model) == is_told


def test_a_file_that_changed_is_read_again(tmp_path: Path, sd1_folder: Path) -> None:
    loader = loader_with(tmp_path, sd1_folder, file := build_tiny_lora(tmp_path, sd1_folder))
    first = picture(loader, loras=(("mine", 1.0),))
    write(file, {key: tensor * 0.5 for key, tensor in load_file(file).items()})

    assert picture(loader, loras=(("mine", 1.0),)) not in (first, picture(loader))


# -- What diffusers writes -----------------------------------------------------------------------------------------------------


def test_alphas_in_diffusers_metadata_scale_the_layers(sd1: Any, tmp_path: Path) -> None:
    factors = make_factors(layers_of(sd1))
    config = {"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 2}, "unet.use_rslora": False}
    config |= {"text_encoder.r": 4, "text_encoder.lora_alpha": 6, "text_encoder.use_rslora": True}
    tensors = load_file(write_peft(tmp_path / "plain.safetensors", factors))
    file = tmp_path / "lora.safetensors"
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps(config)})

    assert apply_adapters(sd1, [lora(file)]) == []

    scales = [3.0 if "text" in name else 0.5 if name.endswith("attn1.to_q") else 2.0 for name in factors]
    assert_scaled(sd1, factors, scales)


@pytest.mark.parametrize("text", ["rubbish", "[]", '{"unet.lora_alpha": "8"}', '{"unet.lora_alpha": true}', "[" * 100_000])
def test_metadata_that_makes_no_sense_scales_nothing(text: str) -> None:
    assert Alphas({"lora_adapter_metadata": text}).of("unet.conv_in", 4) is None


def test_nothing_is_logged_of_weights_that_would_be_missing(
    pipeline: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """What transformers says of each layer of a text encoder that a LoRA is loaded into: it is not true."""
    file = write_kohya(tmp_path / "lora.safetensors", make_factors(layers_of(pipeline)), ALPHAS["uniform"], xl=is_xl(pipeline))

    apply_adapters(pipeline, [lora(file)])

    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


# -- A model whose weights are kept in 8 bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "is_told"), [("LoRA", False), ("LoKr", True)])
def test_adapters_work_on_weights_in_8_bits_and_are_put_back(
    tiny_catalog: Catalog, tmp_path: Path, form: str, is_told: bool
) -> None:
    entry = dataclasses.replace(tiny_catalog.models["sd1"], storage="fp8")
    device = Device("cpu", 0, "test", torch.float32, True, 2**33)
    loader = ModelLoader(Catalog(models={"sd1": entry}, adapters={}), ModelStore(tmp_path), device)
    with loader.use("sd1", "text-to-image") as lease:
        before = state_of(lease.pipeline)
        file, _ = make_file(tmp_path, lease.pipeline, form, prefix="unet")
        notes = apply_adapters(lease.pipeline, [lora(file)])
        latents = torch.ones(1, 4, 8, 8), 5, torch.ones(1, 7, 32)
        with torch.no_grad():
            changed = lease.pipeline.unet(*latents).sample
            remove_adapters(lease.pipeline)
            plain = lease.pipeline.unet(*latents).sample

        assert [("8 bits" in note) for note in notes] == ([True] if is_told else [])
        assert not torch.allclose(changed, plain)
        assert state_of(lease.pipeline) == before
