"""What a request gets that leaves steps, guidance and scheduler open, with a model that nobody has described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.catalog import load_catalog
from api.catalog.usual_settings import FEW_STEPS, Settings, usual_settings
from api.images.scheduler_presets import scheduler_names
from tests.model_files.files import header_of, write_sparse

P = "model.diffusion_model."
SDXL = {
    f"{P}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{P}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    f"{P}label_emb.0.0.weight": (1280, 2816),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.1.model.positional_embedding": (77, 1280),
}


@pytest.mark.parametrize(
    ("family", "few_step", "name", "wanted"),
    [
        ("sd1", "", "dream", Settings(512, 25, 7.0)),
        ("sdxl", "", "dream", Settings(1024, 30, 5.0)),
        ("sd1", "lcm", "LCM_Dreamshaper", Settings(512, 6, 1.5, "lcm")),
        ("sdxl", "lightning", "sdxl_lightning_8step", Settings(1024, 8, 1.0, "euler_trailing")),
        ("sdxl", "hyper", "Hyper-SDXL", Settings(1024, 8, 1.0, "ddim_trailing")),
        ("sdxl", "turbo", "sd_xl_turbo_1.0", Settings(512, 4, 0.0, "euler_a_trailing")),
        ("sdxl", "turbo", "dreamshaperXL_turbo", Settings(1024, 4, 0.0, "euler_a_trailing")),
        ("flux", "hyper", "hyper-flux-8step", Settings(1024, 8, 3.5)),
    ],
)
def test_family_and_distillation_decide(family: str, few_step: str, name: str, wanted: Settings) -> None:
    assert usual_settings(family, "", "", few_step, name) == wanted


def test_schnell_takes_four_steps_without_guidance() -> None:
    assert usual_settings("flux", "schnell", "", "", "flux1-schnell") == Settings(1024, 4, 0.0)


def test_each_scheduler_is_one_that_there_is() -> None:
    assert {scheduler for _, _, scheduler in FEW_STEPS.values()} <= set(scheduler_names("sdxl"))


def test_a_table_with_a_file_alone_is_filled_from_its_header(tmp_path: Path) -> None:
    file = write_sparse(tmp_path / "my_lightning_4step.safetensors", header_of(SDXL))
    extra = tmp_path / "extra.toml"
    extra.write_text(
        f"[models.mine]\npath = {json.dumps(file.name)}\n[models.other]\npath = {json.dumps(file.name)}\ndefault_steps = 6\n"
    )
    entry = load_catalog(extra).get("mine")
    assert (entry.single_file, entry.family, entry.scheduler) == (True, "sdxl", "euler_trailing")
    assert (entry.default_size, entry.default_steps, entry.default_guidance_scale) == (1024, 4, 1.0)
    assert load_catalog(extra).get("other").default_steps == 6


def test_a_vae_s_path_counts_from_the_catalog_s_folder(tmp_path: Path) -> None:
    (tmp_path / "extra.toml").write_text(
        '[models.mine]\npath = "x.safetensors"\nfamily = "sd1"\nvae = "vae/mine.safetensors"\n'
    )
    assert load_catalog(tmp_path / "extra.toml").get("mine").vae == str(tmp_path / "vae" / "mine.safetensors")
