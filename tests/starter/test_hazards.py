"""starter-hazards: the committed file finds what was drawn, and its training goes on from its checkpoint."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from api.loading.hazard_cells import read_cells
from api.starter import hazard_card
from api.starter.architecture import WEIGHTS
from api.starter.hazard_card import evaluate_hazards
from api.starter.hazard_figures import Answers
from api.starter.training import hazard_export, hazards
from api.starter.training.hazard_export import fused, halved, shifts_of
from api.starter.training.hazard_network import FINE, SIZE, HazardNetwork, pooling
from api.starter.world.road import CELLS, CLASSES, HEIGHT, WIDTH

pytestmark = pytest.mark.models
FOLDER = WEIGHTS / "starter-hazards"


# ---------------------------------------------------------------- the committed weights


def test_the_file_is_small_and_its_cells_are_those_of_the_world() -> None:
    assert (FOLDER / "model.onnx").stat().st_size <= 1_500_000
    layout = read_cells(FOLDER / "cells.json")
    assert layout.classes == CLASSES
    assert layout.boxes == tuple(tuple(map(float, box)) for box in CELLS)
    assert (layout.width, layout.height, layout.logits) == (WIDTH, HEIGHT, True)


def test_it_finds_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hazard_card, "DRAWINGS", 80)
    monkeypatch.setattr(hazard_card, "SEED", 5_000_000_000)
    figures = evaluate_hazards(FOLDER)
    assert figures.cells.f1 >= 0.8, figures.summary
    assert figures.risk.recall >= 0.93, figures.summary  # the card has the figure of 1,000
    assert min(score.f1 for score in figures.by_class.values()) >= 0.6, figures.summary


def test_its_card_has_the_figures_of_every_class() -> None:
    card = (FOLDER / "README.md").read_text()
    assert all(f"| {name} | " in card for name in (*CLASSES, "any hazard (risk)", "all classes together"))


# ---------------------------------------------------------------- the network


def test_a_cells_feature_is_the_mean_of_the_map_within_it() -> None:
    shares = pooling(FINE)
    assert torch.allclose(shares.sum(dim=0), torch.ones(len(CELLS)))
    columns = (torch.arange(FINE * FINE) % FINE + 0.5) / FINE * WIDTH
    rows = (torch.arange(FINE * FINE) // FINE + 0.5) / FINE * HEIGHT
    for cell, (xmin, ymin, xmax, ymax) in enumerate(CELLS):
        assert float(columns @ shares[:, cell]) == pytest.approx((xmin + xmax) / 2, abs=WIDTH / FINE / 2)
        assert float(rows @ shares[:, cell]) == pytest.approx((ymin + ymax) / 2, abs=HEIGHT / FINE / 2)


@torch.no_grad()
def test_the_exported_file_answers_what_the_network_answers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = HazardNetwork()
    for _ in range(3):  # batch normalizations that are no identities
        network(torch.rand(4, 3, SIZE, SIZE))
    network.eval()
    model = halved(hazard_export.trace(hazard_export.as_part(fused(network))))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    picture = torch.rand(1, 3, SIZE, SIZE)
    [answers] = session.run(None, {"images": picture.numpy()})
    assert answers.shape == (1, len(CELLS) * (len(CLASSES) + 1))
    assert np.abs(answers - network(picture).numpy()).max() < 0.02  # weights of half precision


def test_balancing_finds_enough_cells_and_the_best_threshold_of_each_class() -> None:
    rng = np.random.default_rng(0)
    there = rng.random((60, len(CELLS), len(CLASSES))) < 0.05
    logits = np.where(there, 1.0, -3.0) + rng.normal(0, 0.8, there.shape) - 1.5  # too low by as much
    normal = np.where(there.any(axis=-1, keepdims=True), -0.2, 2.0)
    answers = Answers(np.concatenate([logits, normal], axis=-1), there)
    balanced = hazard_export.shifted(answers, shifts_of(answers)).figures()
    assert answers.figures().risk.recall < hazard_export.RECALL <= balanced.risk.recall
    assert balanced.cells.f1 > answers.figures().cells.f1


# ---------------------------------------------------------------- training


def test_training_goes_on_from_its_checkpoint_and_writes_weights_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, name, value in (
        (hazards, "DRAWINGS", 1), (hazards, "CHECKED", 2), (hazard_export, "BALANCED", 3), (hazard_card, "DRAWINGS", 2),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    for minutes in (0.02, 0.05):
        hazards.train_hazards(tmp_path / "checkpoints", minutes, torch.device("cpu"), tmp_path)
        (tmp_path / "checkpoints" / f"after-{minutes}").write_bytes((tmp_path / "checkpoints" / "hazards.pt").read_bytes())
    steps = [torch.load(tmp_path / "checkpoints" / f"after-{minutes}")["step"] for minutes in (0.02, 0.05)]
    assert 0 < steps[0] < steps[1]
    folder = tmp_path / "starter-hazards"
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "cells.json", "README.md"}
    assert f"{steps[1]} batches" in (folder / "README.md").read_text()
    assert "shipped: F1" in capsys.readouterr().out
