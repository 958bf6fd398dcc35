"""Control maps by image processing."""

import numpy as np
import pytest

from api.images.backends.preprocessors.maps import MAPS, Pixels
from api.images.control.use import PREPROCESSORS


def square(side: int) -> Pixels:
    pixels = np.full((side, side, 3), 40, np.uint8)
    pixels[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 210
    return pixels


def test_the_names_that_a_request_may_give_are_those_of_the_maps() -> None:
    assert tuple(MAPS) == PREPROCESSORS


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (64, 200)])
def test_every_map_takes_every_size(name: str, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    made = MAPS[name](pixels)
    assert (made.shape, made.dtype) == (pixels.shape, np.uint8)


@pytest.mark.parametrize("name", ["canny", "softedge", "scribble", "lineart", "lines"])
def test_what_is_flat_has_no_lines(name: str) -> None:
    assert not MAPS[name](np.full((64, 64, 3), 90, np.uint8)).any()


@pytest.mark.parametrize("side", [128, 512])
@pytest.mark.parametrize("name", ["canny", "softedge", "scribble", "lineart", "lines"])
def test_lines_lie_along_the_edges_of_things(name: str, side: int) -> None:
    """None further from an edge of the square than a twentieth of the picture, and some on each of its sides."""
    lit = MAPS[name](square(side))[..., 0] > 64
    rows, columns = np.nonzero(lit)
    low, high, near = side // 4, 3 * side // 4, side / 20
    distance = np.minimum.reduce([np.abs(rows - low), np.abs(rows - high), np.abs(columns - low), np.abs(columns - high)])
    assert (distance <= near).all()
    for line in (lit[low - 3 : low + 4].any(axis=0), lit[high - 4 : high + 3].any(axis=0)):
        assert line[low:high].mean() > 0.8


def test_a_map_and_that_of_an_enlargement_agree() -> None:
    small, large = (MAPS["scribble"](square(side))[..., 0] > 0 for side in (128, 512))
    assert (small.repeat(4, 0).repeat(4, 1) == large).mean() > 0.95
