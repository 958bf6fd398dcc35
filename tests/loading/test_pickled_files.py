"""`manage.py convert_weights` on pickled checkpoints, VAEs and embeddings for pictures: by an owner's command alone."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file

from api.catalog import load_catalog
from api.devices import Device
from api.loading.pipelines import build_pipeline
from api.loading.upscaling.building import build_upscaler
from tests.loading import originals
from tests.models.tiny import build_tiny_sd
from tests.upscaling.networks import srvgg

CPU = Device("cpu", 0, "CPU", torch.float32, False, 2**34)


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command on what torch saves of `content`; gives what it prints."""

    def run(content: Any, name: str) -> str:
        torch.save(content, tmp_path / name)
        call_command("convert_weights", str(tmp_path / name), output=tmp_path / "out")
        return capsys.readouterr().out

    return run


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class under which Lightning's checkpoints keep their callbacks, in a module of that name."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore[attr-defined]
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    return module.ModelCheckpoint  # type: ignore[no-any-return]


def test_a_ckpt_becomes_a_single_file_that_loads(convert: Callable[..., str], tmp_path: Path, lightning: type) -> None:
    folder = build_tiny_sd(tmp_path / "base")
    tensors = originals.sd1(folder)
    averaged = {"model_ema.diffusion_modeltime_embed0weight": torch.ones(2)}
    content = {"state_dict": tensors | averaged, "global_step": 840000, "callbacks": {lightning: {"best": torch.ones(1)}}}
    said = convert(content, "dream v1.ckpt")
    assert "dream v1.ckpt is a checkpoint of the family sd1" in said
    file = tmp_path / "out" / "dream-v1.safetensors"
    assert load_file(file).keys() == tensors.keys()

    extra = tmp_path / "extra.toml"
    base = f'\n[models.tiny]\npath = "{folder}"\nfamily = "sd1"\n'
    extra.write_text(said[said.index("[models.") :] + '\nbase = "tiny"\n' + base)
    entry = load_catalog(extra).get("dream-v1")
    assert (entry.single_file, entry.family) == (True, "sd1")
    pipeline = build_pipeline(entry, file, CPU, folder)
    assert torch.equal(pipeline.unet.conv_in.weight, tensors["model.diffusion_model.input_blocks.0.0.weight"])


def test_a_vae_is_told_where_it_is_named(convert: Callable[..., str], tmp_path: Path) -> None:
    tensors = originals.vae(originals.read(build_tiny_sd(tmp_path / "base"), "vae"))
    assert "Name it as `vae`" in convert({"state_dict": tensors}, "mine.vae.pt")
    assert (tmp_path / "out" / "mine.vae.safetensors").is_file()


@pytest.mark.parametrize("wrapper", ["params_ema", "params"])
def test_an_upscaler_becomes_a_table_that_enlarges(convert: Callable[..., str], tmp_path: Path, wrapper: str) -> None:
    said = convert({wrapper: dict(srvgg(4).state_dict())}, "realesr-animevideov3.pth")
    assert "realesr-animevideov3.pth is an upscaler of the family srvgg" in said
    (tmp_path / "extra.toml").write_text(said[said.index("[models.") :])
    entry = load_catalog(tmp_path / "extra.toml").get("realesr-animevideov3")
    assert (entry.task, entry.family, entry.single_file) == ("upscaling", "srvgg", True)
    assert entry.path is not None
    network = build_upscaler(entry, entry.path, CPU).network
    assert network is not None
    assert network.scale == 4


@pytest.mark.parametrize("holder", [dict, torch.nn.ParameterDict])
def test_an_embedding_keeps_its_vectors(convert: Callable[..., str], tmp_path: Path, holder: Any) -> None:
    vectors = torch.nn.Parameter(torch.ones(3, 768))
    said = convert({"string_to_token": {"*": 265}, "string_to_param": holder({"*": vectors}), "name": "mycat"}, "mycat.pt")
    assert said[said.index("[") :].startswith('[embeddings."mycat"]')
    assert 'family = "sd1"' in said
    assert torch.equal(load_file(tmp_path / "out" / "mycat.safetensors")["emb_params"], vectors.detach())


class Explosive:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code of the file was run')",))


@pytest.mark.parametrize("place", ["callbacks", "optimizer_states"])
def test_a_ckpt_with_code_is_refused_and_nothing_of_it_runs(convert: Callable[..., str], tmp_path: Path, place: str) -> None:
    tensors = originals.sd1(build_tiny_sd(tmp_path / "base"))
    with pytest.raises(CommandError, match="is no file of weights alone"):
        convert({"state_dict": tensors, place: Explosive()}, "evil.ckpt")
    assert not (tmp_path / "out").exists()
