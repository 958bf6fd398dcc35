"""A snapshot that could run code, or read outside its folder, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.catalog import ModelEntry
from api.downloads.permitted_files import select_files
from api.downloads.snapshots import inspect_snapshot
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from tests.models.hub_server import HubServer
from tests.models.tiny import build_tiny_flux, build_tiny_sd, build_tiny_sd3, build_tiny_sdxl

AUTO_MAP = {"AutoConfig": "configuration_evil.EvilConfig", "AutoModel": "modeling_evil.EvilModel"}
DIFFUSERS = ["model_index.json", "unet/config.json", "vae/config.json"]
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
}


def refusal(folder: Path) -> str:
    with pytest.raises(DarkroomError) as caught:
        inspect_snapshot(folder, "Evil")
    assert "Evil" in caught.value.detail
    return caught.value.code


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


@pytest.mark.parametrize("build", [build_tiny_sd, build_tiny_sdxl, build_tiny_sd3, build_tiny_flux])
def test_an_honest_checkpoint_passes(tmp_path: Path, build: Any) -> None:
    inspect_snapshot(build(tmp_path / "honest"), "Honest")


def test_auto_map_is_ignored_where_transformers_knows_the_model(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "idefics3", "auto_map": AUTO_MAP})
    write_json(tmp_path / "processor_config.json", {"auto_map": {"AutoProcessor": "p.P"}})
    inspect_snapshot(tmp_path, "Honest")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "evil", "auto_map": AUTO_MAP},
        {"auto_map": AUTO_MAP},
        {"model_type": "idefics3", "text_config": {"model_type": "evil", "auto_map": AUTO_MAP}},
    ],
)
def test_auto_map_of_a_model_that_transformers_does_not_know_needs_remote_code(tmp_path: Path, config: dict[str, Any]) -> None:
    write_json(tmp_path / "text_encoder" / "config.json", config)
    assert refusal(tmp_path) == "needs_remote_code"


def test_auto_map_in_a_tokenizer_counts_too(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "evil"})
    write_json(tmp_path / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.T", None]}})
    assert refusal(tmp_path) == "needs_remote_code"


def test_a_repository_with_an_unknown_auto_map_is_refused_when_fetched(hub: HubServer, store: ModelStore) -> None:
    config = json.dumps({"model_type": "evil", "auto_map": AUTO_MAP}).encode()
    hub.add("team/evil", {"config.json": config, "model.safetensors": b"x", "modeling_evil.py": b"raise SystemExit"})
    with pytest.raises(DarkroomError) as caught:
        store.fetch(ModelEntry(id="evil", name="Evil", repo="team/evil"))
    assert (caught.value.code, caught.value.status) == ("needs_remote_code", 422)
    assert "modeling_evil.py" not in hub.fetched()


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "clip", "_attn_implementation_internal": "eager"},
        {"model_type": "clip", "vision_config": {"_attn_implementation_internal": "evil/kernel"}},
        {"model_type": "clip", "_attn_implementation": "evil/kernel"},
        {"model_type": "clip", "attn_implementation": {"": "evil/kernel"}},
    ],
)
def test_an_attention_implementation_from_elsewhere_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    write_json(tmp_path / "text_encoder" / "config.json", config)
    assert refusal(tmp_path) == "unsafe_files"


@pytest.mark.parametrize(
    "change",
    [
        {"unet": ["evil_module", "Evil"]},
        {"unet": ["diffusers", "NoSuchClass"]},
        {"unet": ["diffusers", "os.system"]},
        {"unet": ["diffusers", None]},
        {"_class_name": "EvilPipeline"},
        {"_class_name": ["pipeline_evil", "EvilPipeline"]},
        {"scheduler": ["subprocess", "Popen"]},
    ],
)
def test_a_class_outside_diffusers_and_transformers_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write_json(tmp_path / "model_index.json", INDEX | change)
    assert refusal(tmp_path) == "unsafe_files"


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "/etc/passwd", "..\\secret"])
def test_shards_outside_the_folder_are_refused(tmp_path: Path, shard: str) -> None:
    write_json(tmp_path / "unet/diffusion_pytorch_model.safetensors.index.json", {"weight_map": {"a": shard}})
    assert refusal(tmp_path) == "unsafe_files"


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\xff"])
def test_a_configuration_that_is_no_json_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    assert refusal(tmp_path) == "damaged"


def choose(names: list[str], variant: str | None = None) -> set[str]:
    return set(select_files([*DIFFUSERS, *names], model="Model", variant=variant, patterns=(), index=INDEX)) - set(DIFFUSERS)


def test_weights_beside_the_components_are_left() -> None:
    assert choose(["v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.safetensors", "README.md", "image.png"]) == {
        "unet/diffusion_pytorch_model.safetensors"
    }


def test_of_several_forms_one_is_taken() -> None:
    forms = ["", ".fp16", ".non_ema", ".bf16"]
    names = [f"unet/diffusion_pytorch_model{form}.safetensors" for form in forms]
    assert choose(names) == {names[0]}
    assert choose(names, "fp16") == {names[1]}


def test_a_component_without_the_variant_is_taken_plain() -> None:
    names = ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors"]
    assert choose(names, "fp16") == set(names)


def test_shards_come_with_the_index_of_their_variant() -> None:
    plain = [f"unet/diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    plain.append("unet/diffusion_pytorch_model.safetensors.index.json")
    half = [f"unet/diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    half.append("unet/diffusion_pytorch_model.safetensors.index.fp16.json")
    assert choose(plain + half) == set(plain)
    assert choose(plain + half, "fp16") == set(half)


def test_a_component_in_pickles_alone_is_named() -> None:
    with pytest.raises(DarkroomError, match="pickled weights only for unet"):
        choose(["unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors"])


def test_an_adapter_that_would_pull_in_another_base_is_left() -> None:
    names = ["config.json", "model.safetensors", "adapter_config.json", "tokenizer.model", "chat_template.jinja"]
    chosen = select_files(names, model="Model", variant=None, patterns=(), index=None)
    assert set(chosen) == set(names) - {"adapter_config.json"}
