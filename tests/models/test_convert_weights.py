"""`manage.py convert_weights` on checkpoints of hazard models (.pth.tar): what is unwrapped, what is checked, what is refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command
from safetensors.torch import load_file

from api.catalog import load_catalog
from api.devices import probe_device
from api.downloads.store import ModelStore
from api.errors import DarkroomError
from api.loading.hazards import TorchHazardModel
from api.loading.nima import VggNima
from api.loading.nima import recognise_checkpoint as recognise_nima
from api.model_loader import ModelLoader
from tests.vision.hazard_models import QUARTERS, mobilenet

pytestmark = pytest.mark.models
Convert = Callable[..., str]


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Convert:
    """Runs the command on what torch saves of `content`, with a cells.json; gives what it prints."""

    def run(content: Any, cells: Any = QUARTERS, name: str = "yolic_m2.pth.tar", command: str = "convert_weights") -> str:
        torch.save(content, tmp_path / name)
        options = {"cells": tmp_path / "given.json"} if cells else {}
        (tmp_path / "given.json").write_text(json.dumps(cells))
        call_command(command, str(tmp_path / name), output=tmp_path / "out", **options)
        return capsys.readouterr().out

    return run


def parallel(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"module.{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        parallel,
        lambda state: {"state_dict": state, "epoch": 3, "arch": "mobilenet_v2", "best": 0.9},
        lambda state: {"epoch": 3, "model_state_dict": parallel(state), "optimizer_state_dict": {"lr": 0.1, "steps": [1, 2]}},
        lambda state: {"params_ema": state},
    ],
    ids=["plain", "module.", "state_dict", "model_state_dict", "params_ema"],
)
def test_a_training_programs_checkpoint_becomes_the_weights_in_it(
    convert: Convert, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    state = mobilenet(12)
    assert "is a MobileNetV2 with 12 outputs" in convert(wrap(state))
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)


def test_the_table_that_is_printed_offers_the_model(convert: Convert, tmp_path: Path) -> None:
    said = convert(mobilenet(12))
    extra = tmp_path / "extra.toml"
    extra.write_text(said[said.index("[models.") :])
    entry = load_catalog(extra).get("yolic_m2")
    assert (entry.task, entry.family) == ("hazard-cells", "mobilenet_v2")
    loader = ModelLoader(load_catalog(extra), ModelStore(tmp_path), probe_device("cpu"))
    with loader.use(entry.id, entry.task) as lease:
        assert isinstance(lease.pipeline, TorchHazardModel)
        assert lease.pipeline.layout.classes == ("tối", "red")


@pytest.mark.parametrize("name", ["yolic_m2.pth.tar", "yolic_m2.pth"])
def test_a_folder_with_the_pickle_alone_says_what_converts_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).write_bytes(b"")
    (tmp_path / "extra.toml").write_text('[models.mine]\npath = "model"\ntask = "hazard-cells"\n')
    loader = ModelLoader(load_catalog(tmp_path / "extra.toml"), ModelStore(tmp_path), probe_device("cpu"))
    with pytest.raises(DarkroomError, match=f"convert_weights {name}") as caught, loader.use("mine", "hazard-cells"):
        pass
    assert (caught.value.code, caught.value.status) == ("unsafe_files", 422)


def test_without_cells_the_command_says_that_they_are_wanted(convert: Convert, tmp_path: Path) -> None:
    assert "Put a cells.json beside it" in convert(mobilenet(12), cells=None)
    assert not (tmp_path / "out" / "cells.json").exists()


@pytest.mark.parametrize(
    ("outputs", "cells", "said"),
    [
        (13, QUARTERS, "--cells: it has 13 outputs, which is no multiple of 3"),
        (15, QUARTERS, "--cells: its 15 outputs are 5 cells, and cells.json has 4"),
        (12, {**QUARTERS, "boxes": [[0, 0, 90, 30]]}, "--cells: cell 0 of cells.json lies outside"),
        (12, [1], "--cells: cells.json holds no object"),
    ],
)
def test_cells_that_do_not_fit_are_refused_before_anything_is_written(
    convert: Convert, tmp_path: Path, outputs: int, cells: Any, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        convert(mobilenet(outputs), cells=cells)
    assert not (tmp_path / "out").exists()


def test_cells_belong_to_hazard_models_alone(convert: Convert) -> None:
    with pytest.raises(CommandError, match=r"--cells: a LAION v1 \(linear\) has no cells"):
        convert({"weight": torch.ones(1, 8), "bias": torch.ones(1)})


def test_a_cells_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    torch.save(mobilenet(12), tmp_path / "m.pth")
    with pytest.raises(CommandError, match=r"nowhere\.json: No such file"):
        call_command("convert_weights", str(tmp_path / "m.pth"), cells=tmp_path / "nowhere.json", output=tmp_path / "out")


def test_a_mobilenet_with_other_layers_is_refused_with_the_reason(convert: Convert) -> None:
    state = mobilenet(12)
    state.pop("features.5.conv.2.weight")
    with pytest.raises(CommandError, match="It has the keys of a MobileNetV2, but Missing key"):
        convert(state)


def test_nima_claims_no_mobilenet_and_still_its_own() -> None:
    assert recognise_nima(mobilenet(12)) is None
    assert recognise_nima(mobilenet(10)) is None
    with torch.device("meta"):
        keys = VggNima().state_dict()
    assert {"classifier.1.weight", "features.28.weight"} <= keys.keys()
    found = recognise_nima({name: torch.empty(value.shape) for name, value in keys.items()})
    assert found is not None
    assert found.family == "nima"


def test_the_old_name_of_the_command_does_the_same(convert: Convert) -> None:
    assert "is a MobileNetV2 with 12 outputs" in convert(mobilenet(12), command="convert_head")


# ---------------------------------------------------------------- pickles with code


class Explosive:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code of the file was run')",))


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"classifier.1.weight": Explosive()}},
        {"state_dict": {"weight": torch.ones(1)}, "optimizer": Explosive()},
        {"module.x": torch.ones(1), "y": Explosive()},
        torch.nn.Sequential(torch.nn.Linear(2, 2)),
    ],
    ids=["in the weights", "beside them", "under a name", "a whole module"],
)
def test_a_checkpoint_with_code_is_refused_and_nothing_of_it_runs(convert: Convert, tmp_path: Path, content: Any) -> None:
    with pytest.raises(CommandError, match="is no file of weights alone"):
        convert(content)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_plain_pickle_under_the_name_of_a_checkpoint_is_not_run(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "evil.pth.tar").write_bytes(pickle.dumps({"state_dict": Explosive()}, protocol))
    with pytest.raises(CommandError, match="is no file of weights alone"):
        call_command("convert_weights", str(tmp_path / "evil.pth.tar"), output=tmp_path / "out")
