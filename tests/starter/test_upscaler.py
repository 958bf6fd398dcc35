"""starter-upscaler: the committed file beats Lanczos on drawings that it never saw, and its training goes on from its checkpoint."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from api.loading.upscaling.building import WEIGHTS as FILE
from api.loading.upscaling.building import network_of
from api.starter.architecture import WEIGHTS
from api.starter.training import upscaler
from api.starter.upscaler_figures import evaluate_upscaler

pytestmark = [pytest.mark.models, pytest.mark.slow]
FOLDER = WEIGHTS / "starter-upscaler"


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_000_000


def test_it_is_a_decibel_better_than_lanczos_on_held_out_drawings() -> None:
    found = evaluate_upscaler(network_of(load_file(FOLDER / FILE)).eval(), drawings=20, posters=2)
    for kernel in ("bicubic", "box"):
        assert found[f"drawings {kernel}"] >= found[f"drawings {kernel} lanczos"] + 1
        assert found[f"posters {kernel}"] > found[f"posters {kernel} lanczos"]


def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscaler, "SIZE", 256)
    monkeypatch.setattr(upscaler, "POSTERS", 0.0)
    monkeypatch.setattr(upscaler, "export_upscaler", lambda checkpoints: checkpoints)
    first = upscaler.train_upscaler(tmp_path, 0.02, torch.device("cpu"))
    second = upscaler.train_upscaler(tmp_path, 0.04, torch.device("cpu"))
    assert second.steps > first.steps > 0
    assert network_of(dict(second.network.state_dict())).scale == 4
