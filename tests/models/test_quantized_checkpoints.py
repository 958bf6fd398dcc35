"""Checkpoints whose weights were quantised: AWQ, GPTQ and fp8 are loaded, others say what is missing before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from api.catalog import Catalog, ModelEntry
from api.devices import Device
from api.downloads.snapshots import inspect_snapshot
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.chat import estimate_bytes
from api.model_files import quantization
from api.model_files.quantization import read_quantization, why_not_quantized
from api.model_loader import ModelLoader
from api.system.diagnosis import examine_models
from config.catalog import get_catalog
from tests.models.quantized import FP8_BLOCK, GROUP, requantize
from tests.models.tiny_chat import build_tiny_llama

pytestmark = pytest.mark.models
CPU = Device("cpu", 0, "", torch.float32, True, 2**33)
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [FP8_BLOCK, FP8_BLOCK]}
READ = {
    "awq": AWQ,
    "gptq": GPTQ,
    "gptq, groups in another order": {**GPTQ, "desc_act": True},
    "gptq, its second format, in 8 bits": {**GPTQ, "bits": 8, "checkpoint_format": "gptq_v2"},
    "fp8": FP8,
}
NOT_READ = {
    "compressed-tensors": (
        {"quant_method": "compressed-tensors"},
        "package compressed-tensors: .venv/bin/pip install compressed-",
    ),
    "bitsandbytes": ({"load_in_4bit": True}, "package bitsandbytes and a CUDA device: .venv/bin/pip install bitsandbytes"),
    "hqq": ({"quant_method": "hqq"}, "quantised by hqq, which is not read here"),
    "awq": ({**AWQ, "version": "gemv"}, "packed as gemv"),
    "gptq": ({**GPTQ, "bits": 3}, "in 3 bits; 2 or 4 or 8"),
    "no name": ({}, "quantised by unknown"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llama(tmp_path_factory.mktemp("plain") / "llama")


def loader_of(folder: Path) -> ModelLoader:
    entry = ModelEntry(id="it", name="It", family="llama", task="text-generation", path=folder)
    return ModelLoader(Catalog({"it": entry}, {}), ModelStore(folder), CPU)


@pytest.mark.parametrize("config", READ.values(), ids=READ)
def test_it_is_the_model_that_its_packed_weights_stand_for(plain: Path, tmp_path: Path, config: Mapping[str, Any]) -> None:
    expected = requantize(plain, tmp_path / "packed", config)
    reference = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)
    original = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    reference.load_state_dict(expected)
    ids = torch.tensor([[1, 5, 9, 20, 7]])
    loader = loader_of(tmp_path / "packed")
    with loader.use("it", "text-generation") as lease, torch.inference_mode():
        model = lease.pipeline.model
        assert type(model) is LlamaForCausalLM
        assert torch.allclose(model(ids).logits, reference(ids).logits, atol=2e-2 if config is FP8 else 1e-4)
        assert model.generation_config.eos_token_id == reference.generation_config.eos_token_id
    assert any(not torch.equal(expected[name], tensor) for name, tensor in original.items())
    if config is not FP8:
        weights = sum(parameter.numel() for parameter in reference.parameters())
        assert estimate_bytes(loader.catalog.get("it"), tmp_path / "packed", CPU) == 4 * weights


@pytest.mark.parametrize(("config", "reason"), NOT_READ.values(), ids=NOT_READ)
def test_what_can_t_be_read_is_refused_before_a_load(
    plain: Path, tmp_path: Path, config: Mapping[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda package: None)
    written = {
        **json.loads((plain / "config.json").read_text()),
        "quantization_config": {**config, "bits": config.get("bits", 4)},
    }
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.raises(DarkroomError, match="It can't be loaded: its weights are quantised by") as raised:
        inspect_snapshot(tmp_path, "It")
    assert (raised.value.code, raised.value.status) == ("unsupported_checkpoint", 422)
    assert reason in raised.value.detail
    monkeypatch.setattr(quantization, "find_spec", lambda package: object())
    installed = "" if config.get("quant_method") == "compressed-tensors" or "load_in_4bit" in config else reason
    assert installed in why_not_quantized(read_quantization(tmp_path))
    assert bool(installed) == bool(why_not_quantized(read_quantization(tmp_path)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors, name: tensors.pop(f"{name}.scales"), "lack the tensor model.layers.0.mlp.up_proj.scales"),
        (
            lambda tensors, name: tensors.update({f"{name}.scales": tensors[f"{name}.scales"][:, :5].clone()}),
            "don't fit together",
        ),
        (lambda tensors, name: [tensors.pop(each) for each in list(tensors) if name in each], "lack the tensor"),
    ],
)
def test_parts_that_are_missing_or_do_not_fit_are_named(plain: Path, tmp_path: Path, change: Any, reason: str) -> None:
    requantize(plain, tmp_path / "packed", GPTQ)
    file = tmp_path / "packed" / "model.safetensors"
    tensors = load_file(file)
    change(tensors, "model.layers.0.mlp.up_proj")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(DarkroomError, match=reason) as raised, loader_of(tmp_path / "packed").use("it", "text-generation"):
        pass
    assert raised.value.code == "broken_model"


def test_quantised_twice_is_refused(plain: Path, tmp_path: Path) -> None:
    requantize(plain, tmp_path / "packed", GPTQ)
    entry = ModelEntry(id="it", name="It", task="text-generation", path=tmp_path / "packed", precision="int8")
    loader = ModelLoader(Catalog({"it": entry}, {}), ModelStore(tmp_path), CPU)
    with (
        pytest.raises(DarkroomError, match="quantised already, by gptq: leave out its precision"),
        loader.use("it", "text-generation"),
    ):
        pass


@pytest.fixture
def in_catalog(plain: Path, tmp_path: Path, settings: Any) -> Iterator[None]:
    """A model `it` whose weights can't be read, and whose folder says so."""
    requantize(plain, tmp_path / "packed", GPTQ)
    config = tmp_path / "packed" / "config.json"
    config.write_text(config.read_text().replace('"quant_method": "gptq"', '"quant_method": "hqq"'))
    settings.CATALOG_EXTRA = tmp_path / "models.toml"
    table = {"name": "It", "family": "llama", "task": "text-generation", "path": "packed"}
    settings.CATALOG_EXTRA.write_text("[models.it]\n" + "\n".join(f'{name} = "{value}"' for name, value in table.items()))
    get_catalog.cache_clear()
    yield
    get_catalog.cache_clear()


@pytest.mark.django_db
@pytest.mark.usefixtures("in_catalog")
def test_the_list_the_doctor_and_preload_say_it(client: Any) -> None:
    reason = "its weights are quantised by hqq, which is not read here"
    listed = next(model for model in client.get("/api/models/").json() if model["id"] == "it")
    assert not listed["usable"]
    assert reason in listed["reason"]
    assert any(reason in finding.text for finding in examine_models())
    told = StringIO()
    with pytest.raises(CommandError, match="1 of 1 are not here"):
        call_command("preload_models", models=["it"], stderr=told)
    assert reason in told.getvalue()
