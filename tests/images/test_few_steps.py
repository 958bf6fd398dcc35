"""LoRAs for few steps are recognised, and what they are made for is suggested; a model for few steps has its settings as defaults."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from api.catalog import AdapterEntry, Catalog
from api.catalog.usual_settings import usual_settings
from api.images import serializers
from api.images.few_steps import FEW_STEPS, kind_of, suggest_settings
from api.images.spec import LoraUse, Txt2ImgSpec
from config.catalog import get_catalog


def spec(**fields: Any) -> Txt2ImgSpec:
    values = {"steps": 25, "guidance_scale": 7.0, "width": 64, "height": 64, "seed": 1, **fields}
    return Txt2ImgSpec(prompt="a", model_id="tiny", loras=(LoraUse(id="mine"),), **values)


@pytest.fixture
def suggest(monkeypatch: pytest.MonkeyPatch) -> Any:
    def of(name: str, **fields: Any) -> list[str]:
        entry = AdapterEntry(id="mine", name=name, family="sd1")
        monkeypatch.setattr("api.images.few_steps.get_catalog", lambda: Catalog(models={}, adapters={"mine": entry}))
        return list(suggest_settings(spec(**fields)))

    return of


def test_what_is_far_from_the_author_s_settings_is_told_with_them(suggest: Any) -> None:
    assert suggest("My LCM LoRA") == [
        "loras: 'mine' seems to be an LCM LoRA, made for up to 8 steps, a guidance_scale of at most 2 and the scheduler lcm; "
        "asked for are 25, 7 and the model's own."
    ]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lcm-lora", {"steps": 6, "guidance_scale": 1.5, "scheduler": "lcm"}),
        ("sdxl_lightning_4step_lora", {"steps": 4, "guidance_scale": 1.0}),
        ("Hyper-SDXL-8steps-lora", {"steps": 8, "guidance_scale": 0.0, "scheduler": "ddim"}),
        ("sd turbo", {"steps": 4, "guidance_scale": 1.0, "scheduler": "euler_a"}),
        ("Watercolour", {}),
    ],
)
def test_what_is_near_them_is_not(suggest: Any, name: str, fields: dict[str, Any]) -> None:
    assert suggest(name, **fields) == []


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("sdxl_lightning_4step_lora", {"steps": 4}, "a Lightning LoRA"),
        ("Hyper-SDXL-8steps-lora", {"steps": 8, "guidance_scale": 1.0}, "tcd, ddim_trailing or ddim"),
        ("sd turbo", {"guidance_scale": 1.0}, "a Turbo LoRA"),
    ],
)
def test_each_of_the_settings_counts(suggest: Any, name: str, fields: dict[str, Any], said: str) -> None:
    [sentence] = suggest(name, **fields)
    assert said in sentence


def test_the_file_s_own_title_tells_too(tmp_path: Path) -> None:
    file = tmp_path / "v2.safetensors"
    save_file({"a": torch.ones(1)}, file, metadata={"modelspec.title": "SDXL Lightning 4 step"})

    assert kind_of(AdapterEntry(id="v2", name="v2", family="sdxl", path=file)) == "lightning"
    assert kind_of(AdapterEntry(id="v2", name="v2", family="sdxl", path=tmp_path / "gone.safetensors")) == ""


def test_a_retry_after_the_adapter_left_the_catalog_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.images.few_steps.get_catalog", lambda: Catalog(models={}, adapters={}))

    assert list(suggest_settings(spec())) == []


@pytest.mark.parametrize(("asked", "scheduler"), [({}, "euler_trailing"), ({"scheduler": "ddim"}, "ddim")])
def test_a_model_s_own_scheduler_is_taken_where_the_request_names_none(
    monkeypatch: pytest.MonkeyPatch, db: None, asked: dict[str, str], scheduler: str
) -> None:
    catalog = get_catalog()
    entry = dataclasses.replace(catalog.get("starter"), scheduler="euler_trailing", default_steps=4, default_guidance_scale=1.0)
    changed = dataclasses.replace(catalog, models={**catalog.models, "starter": entry})
    monkeypatch.setattr(serializers, "get_catalog", lambda: changed)
    form = serializers.Txt2ImgSerializer(data={"prompt": "a lake", **asked})
    form.is_valid(raise_exception=True)
    resolved = form.resolve().spec.to_json()
    assert (resolved["scheduler"], resolved["steps"], resolved["guidance_scale"]) == (scheduler, 4, 1.0)


@pytest.mark.parametrize("kind", FEW_STEPS)
def test_the_defaults_of_such_a_model_are_within_what_is_suggested_for_such_a_lora(kind: str) -> None:
    usual = usual_settings("sdxl", "", "", kind, "mine")
    asked = spec(steps=usual.steps, guidance_scale=usual.guidance_scale, scheduler=usual.scheduler)
    suggested = FEW_STEPS[kind]
    assert usual.steps <= suggested.most_steps
    assert usual.guidance_scale <= suggested.most_guidance
    assert not suggested.is_far_from(asked)
