"""The picture of what was seen."""

import io

import numpy as np
import pytest
from PIL import Image

from api.scoring.backends.colour import palette
from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.overlay import GOOD, MASS, PANEL, draw_overlay, draw_view, encode_overlay
from tests.scoring.conftest import INK, PAPER, poster


def judge(image: Image.Image) -> Verdict:
    [verdict] = HeuristicScorer().score(image, [Layout()])
    return verdict


def has(image: Image.Image, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(np.asarray(image, int) - color).max(axis=2) <= 8).any())


def test_it_shows_the_picture_and_a_panel_beside_it() -> None:
    overlay = draw_overlay(judge(poster()))
    assert overlay.width > 640 + PANEL
    assert overlay.height > 500


def test_the_centre_of_mass_and_the_contrast_of_text_are_drawn_over_the_picture() -> None:
    verdict = judge(poster())
    assert verdict.seen is not None
    view = draw_view(verdict.seen)
    assert view.size == (640, 400)
    assert has(view, MASS)
    assert has(view, GOOD)


def test_the_main_colours_are_in_the_panel() -> None:
    verdict = judge(poster())
    assert verdict.seen is not None
    colors = [color for color, _ in palette(verdict.seen.page)]
    panel = draw_overlay(verdict).crop((672, 0, 672 + PANEL, 552))
    assert all(has(panel, color) for color in colors)
    assert any(np.abs(np.array(color) - PAPER).max() < 8 for color in colors)
    assert any(np.abs(np.array(color) - INK).max() < 24 for color in colors)


@pytest.mark.parametrize("size", [(1, 1), (3000, 4), (4, 3000), (100, 3000), (4000, 3000)])
def test_every_shape_of_picture_can_be_shown(size: tuple[int, int]) -> None:
    encoded = encode_overlay(draw_overlay(judge(Image.new("RGB", size, (40, 90, 200)))))
    with Image.open(io.BytesIO(encoded)) as overlay:
        assert overlay.format == "JPEG"
        assert max(overlay.size) <= 1000
