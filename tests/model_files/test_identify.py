"""A file is told apart by its header and its name, the weights unread."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.model_files.identify import Identity, identify
from tests.model_files.files import Shape, header_of

P = "model.diffusion_model."
VAE = {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
CLIP = {"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768)}
OPEN_CLIP = {"cond_stage_model.model.token_embedding.weight": (49408, 1024)}
XL_TEXT = {
    "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    "conditioner.embedders.1.model.positional_embedding": (77, 1280),
}
FLUX = {"double_blocks.0.img_attn.norm.key_norm.scale": (128,), "img_in.weight": (3072, 64)}

WHOLE_FLUX = {f"{P}{key}": shape for key, shape in FLUX.items()} | {"vae.decoder.conv_in.weight": (512, 16, 3, 3)}


def unet(width: int, channels: int = 4, prefix: str = P, *, label: bool = False) -> dict[str, Shape]:
    attention = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    added: dict[str, Shape] = {f"{prefix}label_emb.0.0.weight": (1280, 2816)} if label else {}
    return {f"{prefix}input_blocks.0.0.weight": (320, channels, 3, 3), f"{prefix}{attention}": (640, width), **added}


def look(shapes: dict[str, Shape], name: str = "x.safetensors", dtype: str = "F16", **metadata: str) -> Identity:
    return identify(header_of(shapes, {key.replace("__", "."): value for key, value in metadata.items()}, dtype), name)


SD1 = unet(768) | VAE | CLIP
SDXL = unet(2048, label=True) | VAE | XL_TEXT


SRVGG: dict[str, Shape] = {"body.0.weight": (64, 3, 3, 3), "body.1.weight": (64,), "body.2.weight": (48, 64, 3, 3)}


@pytest.mark.parametrize(
    ("shapes", "kind", "family", "variant"),
    [
        (SD1, "checkpoint", "sd1", ""),
        (unet(768, 9) | VAE | CLIP, "checkpoint", "sd1", "inpainting"),
        (unet(768, 8) | VAE | CLIP, "checkpoint", "sd1", "pix2pix"),
        (unet(1024) | VAE | OPEN_CLIP, "checkpoint", "sd2", ""),
        (unet(1024, 5) | VAE | OPEN_CLIP, "checkpoint", "sd2", "depth"),
        (SDXL, "checkpoint", "sdxl", ""),
        (unet(2048, 9, label=True) | VAE | XL_TEXT, "checkpoint", "sdxl", "inpainting"),
        (unet(1280, label=True) | VAE, "checkpoint", "sdxl-refiner", ""),
        (unet(2048, label=True), "denoiser", "sdxl", ""),
        (unet(768, prefix=""), "denoiser", "sd1", ""),
        ({"joint_blocks.0.x_block.mlp.fc1.weight": (6144, 1536)}, "denoiser", "sd3", ""),
        (FLUX, "denoiser", "flux", "schnell"),
        ({f"{P}{key}": shape for key, shape in FLUX.items()} | {f"{P}guidance_in.in_layer.weight": (3072, 256)}, "denoiser", "flux", ""),
        (FLUX | {"img_in.weight": (3072, 384)}, "denoiser", "flux", "fill"),
        (WHOLE_FLUX, "checkpoint", "flux", "schnell"),
        (FLUX | {"distilled_guidance_layer.in_proj.bias": (5120,)}, "denoiser", "chroma", ""),
        ({"decoder.conv_in.weight": (512, 16, 3, 3)}, "vae", "", "16-channel"),
        (VAE, "vae", "", "4-channel"),
        ({"emb_params": (4, 768)}, "embedding", "sd1", ""),
        ({"<cat>": (1024,)}, "embedding", "sd2", ""),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding", "sdxl", ""),
        ({"lora_unet_x_attn2_to_k.lora_down.weight": (8, 768)}, "lora", "sd1", ""),
        ({"lora_unet_x_attn2_to_k.lora_down.weight": (8, 2048)}, "lora", "sdxl", ""),
        ({"lora_te2_x.lora_down.weight": (8, 1280)}, "lora", "sdxl", ""),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (8, 3072)}, "lora", "flux", ""),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (8, 3072)}, "lora", "flux", ""),
        ({"lora_unet_x.hada_w1_a": (8, 8)}, "lora", "", ""),
        ({"control_model.time_embed.0.weight": (8, 8), "control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "controlnet", "", ""),
        ({"model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)}, "upscaler", "rrdbnet", ""),
        ({"RRDB_trunk.0.RDB1.conv1.weight": (32, 64, 3, 3)}, "upscaler", "rrdbnet", ""),
        ({"params_ema.body.0.rdb1.conv1.weight": (32, 64, 3, 3)}, "upscaler", "rrdbnet", ""),
        (SRVGG, "upscaler", "srvgg", ""),
        ({f"params.{key}": shape for key, shape in SRVGG.items()}, "upscaler", "srvgg", ""),
        (SRVGG | {"other": (3,)}, "unknown", "", ""),
        ({"layers.0.residual_group.blocks.0.attn.qkv.weight": (180, 60)}, "upscaler", "swinir", ""),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}, "text_encoder", "", ""),
        ({"a": (3, 3)}, "unknown", "", ""),
        ({}, "unknown", "", ""),
    ],
)  # fmt: skip
def test_kind_family_and_variant(shapes: dict[str, Shape], kind: str, family: str, variant: str) -> None:
    found = look(shapes)
    assert (found.kind, found.family, found.variant) == (kind, family, variant)


@pytest.mark.parametrize(
    ("shapes", "name", "metadata", "prediction"),
    [
        (SD1, "a", {}, ""),
        (SDXL | {"v_pred": ()}, "a", {}, "v_prediction"),
        (SDXL, "a", {"modelspec__prediction_type": "v"}, "v_prediction"),
        (SDXL, "a", {"modelspec__prediction_type": "epsilon"}, "epsilon"),
        (unet(1024) | VAE, "v2-1_768-ema-pruned", {}, "v_prediction"),
        (unet(1024) | VAE, "512-base-ema", {}, "epsilon"),
        (unet(1024) | VAE, "sd_turbo", {}, "epsilon"),
        (unet(1024, 9) | VAE, "inpainting", {}, "epsilon"),
        (unet(1024) | VAE, "a", {"modelspec__architecture": "stable-diffusion-v2-768-v"}, "v_prediction"),
    ],
)
def test_prediction(shapes: dict[str, Shape], name: str, metadata: dict[str, str], prediction: str) -> None:
    assert look(shapes, name, **metadata).prediction == prediction


def test_zero_terminal_snr_is_said_by_a_key_or_by_metadata() -> None:
    assert look(SDXL | {"ztsnr": ()}).zero_terminal_snr
    assert look(SDXL, ss_zero_terminal_snr="True").zero_terminal_snr
    assert not look(SDXL).zero_terminal_snr


@pytest.mark.parametrize(
    ("dtype", "more", "precision"),
    [
        ("F32", {}, "fp32"),
        ("F16", {}, "fp16"),
        ("BF16", {}, "bf16"),
        ("F8_E4M3", {}, "fp8"),
        ("F8_E4M3", {f"{P}out.2.scale_weight": ()}, "fp8-scaled"),
        ("F8_E4M3", {"scaled_fp8": (2,)}, "fp8-scaled"),
        ("U8", {f"{P}a.weight.quant_state.bitsandbytes__nf4": (80,)}, "nf4"),
    ],
)
def test_precision(dtype: str, more: dict[str, Shape], precision: str) -> None:
    assert look(SD1 | more, dtype=dtype).precision == precision


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LCM_Dreamshaper_v7", "lcm"),
        ("juggernautXL_v9Rdphoto2Lightning", "lightning"),
        ("sdxl_lightning_4step", "lightning"),
        ("Hyper-SDXL-8steps-lora", "hyper"),
        ("dreamshaperXL_v21TurboDPMSDE", "turbo"),
        ("sd_xl_turbo_1.0_fp16", "turbo"),
        ("realisticVisionV60B1_v51HyperVAE", "hyper"),
        ("hyperrealism_v2", ""),
        ("calculcmodel", ""),
        ("enlightningment", ""),
    ],
)
def test_few_step_models_are_told_by_their_names(name: str, kind: str) -> None:
    assert look(SDXL, f"{name}.safetensors").few_step == kind


def test_few_step_models_are_told_by_their_titles() -> None:
    assert look(SDXL, modelspec__title="My LCM merge").few_step == "lcm"


def test_what_a_checkpoint_lacks() -> None:
    assert look(SD1).lacks == ()
    assert look(unet(768) | CLIP).lacks == ("vae",)
    assert look(unet(768) | VAE).lacks == ("text_encoder",)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (unet(1280, label=True) | VAE, "refiner"),
        (unet(768, 8) | VAE | CLIP, "a picture to edit by an instruction"),
        (unet(1024, 5) | VAE, "a depth map"),
        (FLUX | {"img_in.weight": (3072, 384)}, "a mask"),
        ({"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)} | VAE | CLIP, "only averaged weights"),
        (FLUX | {"distilled_guidance_layer.in_proj.bias": (5120,)}, "Chroma"),
        ({"a": (3, 3)}, "no kind of model"),
        (SD1 | {f"{P}a.weight.quant_state.bitsandbytes__nf4": (80,)}, "bitsandbytes"),
    ],
)
def test_what_can_t_be_used_says_why(shapes: dict[str, Shape], said: str) -> None:
    assert said in look(shapes).unusable


@pytest.mark.parametrize("shapes", [SD1, SDXL, unet(768, 9) | VAE | CLIP, FLUX, unet(2048, label=True), VAE])
def test_what_can_be_used_has_no_reason_against_it(shapes: dict[str, Shape]) -> None:
    assert look(shapes).unusable == ""


def test_parameters_are_counted_without_the_averaged_copy() -> None:
    one = {f"{P}input_blocks.0.0.weight": (320, 4, 3, 3)}
    assert look(one | {"model_ema.diffusion_modelinput_blocks00weight": (320, 4, 3, 3)}).parameters == 320 * 4 * 9


def test_trigger_words_and_hashes_come_from_the_metadata() -> None:
    tags: dict[str, Any] = {"10_cat": {"mycat": 20, "sitting": 7}, "5_dog": {"mydog": 9}}
    found = look(
        {"lora_unet_x.lora_down.weight": (8, 8)}, ss_tag_frequency=json.dumps(tags), sshs_model_hash="ABCDEF0123456789"
    )
    assert found.trigger_words == ("mycat", "mydog")
    assert found.hashes == {"sshs_model_hash": "abcdef0123456789"}
    stated = look(SD1, modelspec__trigger_phrase="mycat, sitting", modelspec__hash_sha256="0x" + "a" * 64)
    assert stated.trigger_words == ("mycat", "sitting")
    assert stated.hashes == {"sha256": "a" * 64}


@pytest.mark.parametrize("text", ["", "[", "[]", "1", '{"a":1}', '{"a":{"b":"c"}}', "[" * 100_000])
def test_tags_that_are_no_table_are_no_trigger_words(text: str) -> None:
    assert look(SD1, ss_tag_frequency=text).trigger_words == ()


def test_an_upscaler_of_another_architecture_says_which_are_run() -> None:
    assert "RRDBNet (ESRGAN, Real-ESRGAN) and SRVGGNetCompact" in look({"layers.0.blocks.0.norm1.weight": (60,)}).unusable
    assert look(SRVGG).unusable == ""
