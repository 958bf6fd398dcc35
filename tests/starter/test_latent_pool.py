"""The pool of encoded pictures that the diffusion training draws from."""

from pathlib import Path

import numpy as np
import pytest

from api.starter import world
from api.starter.architecture import make_autoencoder
from api.starter.training.latents import LatentPool

pytestmark = pytest.mark.models


def test_a_full_pool_says_that_nothing_is_new(tmp_path: Path) -> None:
    pool = LatentPool(tmp_path / "latents.npy", make_autoencoder(), seed=1, capacity=4)
    assert [pool.grow(3) for _ in range(3)] == [3, 1, 0]


def test_without_new_pictures_all_are_drawn_alike(tmp_path: Path) -> None:
    pool = LatentPool(tmp_path / "latents.npy", make_autoencoder(), seed=1, capacity=4)
    pool.grow(4)
    rng = np.random.default_rng(0)
    drawn = [pool.facts.index(pool.draw(1, 0, rng)[0][0]) for _ in range(200)]
    assert min(np.bincount(drawn, minlength=4)) > 25


def test_a_kind_can_be_drawn_oftener_than_it_comes(tmp_path: Path) -> None:
    pool = LatentPool(tmp_path / "latents.npy", make_autoencoder(), seed=1, capacity=32)
    pool.grow(32)
    rng = np.random.default_rng(0)
    scenes = np.mean([picture.kind == "scene" for picture in pool.facts])
    drawn = np.mean([picture.kind == "scene" for picture in pool.draw(1000, 0, rng, {"scene": 4.0})[0]])
    assert drawn == pytest.approx(4 * scenes / (4 * scenes + 1 - scenes), abs=0.05)


def test_so_can_a_thing(tmp_path: Path) -> None:
    pool = LatentPool(tmp_path / "latents.npy", make_autoencoder(), seed=1, capacity=32)
    pool.grow(32)
    rng = np.random.default_rng(0)

    def with_sun(pictures: list[world.Picture]) -> float:
        return float(np.mean(["sun" in getattr(picture, "objects", ()) for picture in pictures]))

    suns = with_sun(pool.facts)
    assert with_sun(pool.draw(1000, 0, rng, {"sun": 4.0})[0]) == pytest.approx(4 * suns / (4 * suns + 1 - suns), abs=0.05)
