"""starter-control: what the committed weights do, and how their figures are measured."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel

from api.images.backends.preprocessors.maps import MAPS
from api.starter.architecture import WEIGHTS
from api.starter.control_figures import control_cases, draw, edge_f1, f1_of
from api.starter.evaluation import SEED, Studio
from api.starter.training.control import NAME, ControlPool, make_control


def lines(*rows: int) -> np.ndarray:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[list(rows)] = 255
    return picture


@pytest.mark.parametrize(
    ("wanted", "found", "f1"),
    [
        (lines(10), lines(10), 1.0),
        (lines(10), lines(12), 1.0),
        (lines(10), lines(13), 0.0),
        (lines(10, 30), lines(10), 2 / 3),
        (lines(10), lines(), 0.0),
        (lines(), lines(10), 0.0),
        (lines(), lines(), 1.0),
    ],
)
def test_edges_count_where_the_other_map_has_one_within_two_pixels(wanted: np.ndarray, found: np.ndarray, f1: float) -> None:
    assert edge_f1(wanted, found) == pytest.approx(f1)


@pytest.mark.models
def test_a_fresh_network_changes_nothing_and_the_committed_one_is_of_its_sizes() -> None:
    studio = Studio()
    fresh, committed = make_control(studio.pipeline.unet), ControlNetModel.from_pretrained(WEIGHTS / NAME)
    assert {n: p.shape for n, p in fresh.state_dict().items()} == {n: p.shape for n, p in committed.state_dict().items()}
    assert not fresh.controlnet_mid_block.weight.any()
    assert committed.controlnet_mid_block.weight.any()
    assert sum(file.stat().st_size for file in Path(WEIGHTS / NAME).glob("*.safetensors")) <= 8_000_000


@pytest.mark.models
@pytest.mark.slow
def test_pictures_have_the_edges_that_were_asked_for_and_without_a_map_they_have_not() -> None:
    studio = Studio()
    cases = control_cases(10, studio.judge)
    control = ControlNetModel.from_pretrained(WEIGHTS / NAME, dtype=studio.pipeline.unet.dtype)
    maps = [MAPS["canny"](case.drawing) for case in cases]
    steered = f1_of(maps, draw(studio, control, cases, maps))[0]
    plain = f1_of(maps, studio.draw([case.asked.prompt for case in cases], [SEED + n for n in range(10)]))[0]
    assert steered >= 0.55
    assert steered > plain + 0.2


@pytest.mark.models
def test_the_pool_gives_latents_maps_and_captions_of_the_same_pictures() -> None:
    pool, rng = ControlPool(Studio().pipeline.vae, 5), np.random.default_rng(0)
    pool.grow(6)
    facts, latents, things, maps = pool.draw(4, rng)
    assert (len(facts), latents.shape, things.shape, maps.shape) == (4, (4, 4, 32, 32), (4, 32, 32), (4, 3, 128, 128))
    assert set(torch.unique(maps).tolist()) <= {0.0, 1.0}
