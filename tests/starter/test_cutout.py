"""starter-cutout: masks of the drawn world, the committed file, and its training."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.cutout.drawings import SIZE, draw, for_evaluation, for_training, moved
from api.starter.cutout.network import CutoutNetwork
from api.starter.cutout_figures import FOLDER, MODEL, measure_cutout
from api.starter.training import cutout, from_drawings
from api.starter.world.scene import Scene
from api.starter.world.shapes import Group, Shapes

pytestmark = pytest.mark.models


def test_the_subject_is_what_stands_before_ground_and_sky() -> None:
    sky = Scene("lake", "day", "clear", ("sun", "rainbow"))
    boat = Scene("lake", "day", "clear", ("sun", "rainbow", "boat"))
    assert not world.render_with_subject(sky, 3)[1].any()
    pixels, mask = world.render_with_subject(boat, 3)
    changed = (pixels != world.render(sky, 3)).any(axis=-1)
    assert 0.005 < mask.mean() < 0.1
    assert changed[mask].mean() > 0.8


def test_asking_for_the_subject_changes_no_pixel() -> None:
    rng = np.random.default_rng(8)
    for seed in range(40):
        picture = world.sample(rng)
        assert np.array_equal(world.render(picture, seed), world.render_with_subject(picture, seed)[0])


def test_alpha_is_a_share_at_edges_and_moves_with_the_pixels() -> None:
    drawing = draw(Shapes(Group("circle", "red", 1), None, ""), 1)
    alpha = drawing.alpha
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 100
    red = (drawing.pixels[..., 0] > 180) & (drawing.pixels[..., 1] < 90)
    assert np.mean(red[alpha > 0.9]) > 0.9
    other = moved(drawing, np.random.default_rng(3))
    red = (other.pixels[..., 0] > 180) & (other.pixels[..., 1] < 90)
    assert np.mean(red[other.alpha > 0.95]) > 0.9


def test_training_sees_no_picture_of_the_evaluation() -> None:
    trained = [next(for_training(seed)).pixels.tobytes() for seed in range(3)]
    assert not set(trained) & {drawing.pixels.tobytes() for drawing in for_evaluation(6, 72)}


def test_the_file_is_small_and_cuts_out_what_was_drawn() -> None:
    file = WEIGHTS / FOLDER / MODEL
    assert file.stat().st_size <= 2_000_000
    figures = measure_cutout(for_evaluation(60, 99), file)
    assert figures.overlap >= 0.85, figures
    assert figures.error <= 0.02, figures


def test_its_card_has_its_figures() -> None:
    card = (WEIGHTS / FOLDER / "README.md").read_text()
    assert "overlap" in card
    assert "Photographs" in card


def test_training_goes_on_from_its_checkpoint_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutout, "UNSEEN", 2)
    monkeypatch.setattr(from_drawings, "BATCH", 2)
    monkeypatch.setattr("api.starter.cutout_figures.DRAWINGS", 12)
    (tmp_path / FOLDER).mkdir()
    cutout.train_cutout(tmp_path, 0.01, torch.device("cpu"), tmp_path)
    first = torch.load(tmp_path / "starter-cutout.pt", weights_only=True)
    cutout.train_cutout(tmp_path, first["spent"] + 0.01, torch.device("cpu"), tmp_path)
    assert torch.load(tmp_path / "starter-cutout.pt", weights_only=True)["step"] > first["step"] > 0
    [given] = onnx.load(tmp_path / FOLDER / MODEL).graph.input
    assert [size.dim_value or size.dim_param for size in given.type.tensor_type.shape.dim][1:] == [3, SIZE, SIZE]
    assert "overlap" in (tmp_path / FOLDER / "README.md").read_text()


def test_the_exported_network_is_the_trained_one(tmp_path: Path) -> None:
    from api.catalog import ModelEntry
    from api.loading.segmenters import load_onnx
    from api.starter.cutout.export import export_cutout

    torch.manual_seed(0)
    network = CutoutNetwork().eval()
    export_cutout(network, tmp_path / MODEL)
    pixels = np.random.default_rng(0).random((3, SIZE, SIZE), np.float32)
    found = load_onnx(ModelEntry(id="x", name="x", path=tmp_path), tmp_path / MODEL).run(pixels)
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)[None]).sigmoid()[0, 0].numpy()
    assert np.abs(found - expected).max() < 5e-3
