"""Every formula against the figures that its paper, or a computation by hand, gives."""

from collections.abc import Sequence

import numpy as np
import pytest

from api.scoring.backends import balance, colour, composition, contrast, entropy, harmony
from api.scoring.backends.page import LINEAR, Page

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def halves(left: Sequence[int], right: Sequence[int]) -> Page:
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[:, :100], pixels[:, 100:] = left, right
    return Page(pixels)


def hues(number: int) -> np.ndarray:
    """A histogram of so many equally spaced hues."""
    histogram = np.zeros(harmony.BINS)
    for place in range(number):
        histogram[round(harmony.BINS * place / number) % harmony.BINS] += 1
    return histogram


# ---------------------------------------------------------------- balance


@pytest.mark.parametrize(
    ("boxes", "balanced", "centred", "dense"),
    [
        ([(10, 40, 20, 20)], 0.5, 0.7, 0.08),
        ([(0, 0, 40, 40), (60, 60, 20, 20)], 0.1666667, 0.6, 0.4),
        ([(10, 10, 20, 20), (70, 10, 20, 20), (10, 70, 20, 20), (70, 70, 20, 20)], 1, 1, 0.32),
    ],
)
def test_boxes_have_ngos_balance_centre_and_density(
    boxes: list[balance.AreaBox], balanced: float, centred: float, dense: float
) -> None:
    assert balance.ngo_balance(boxes, 100, 100) == pytest.approx(balanced, abs=5e-8)
    assert balance.ngo_equilibrium(boxes, 100, 100) == pytest.approx(centred)
    assert balance.ngo_density(boxes, 100, 100) == pytest.approx(dense)


def test_weight_in_a_corner_is_as_far_from_the_middle_as_can_be() -> None:
    weight = np.zeros((400, 400))
    weight[0, 0] = 1
    mass = balance.find_mass(weight)
    assert mass.closeness == pytest.approx(0, abs=0.003)
    assert (mass.left_right, mass.top_bottom) == (1, 1)


def test_a_page_of_one_colour_is_in_balance() -> None:
    mass = balance.find_mass(halves(RED, RED).weight)
    assert (mass.closeness, mass.left_right, mass.top_bottom, mass.symmetry) == (1, 0, 0, 1)


def test_a_pixel_weighs_by_its_cie76_difference_to_the_borders_median() -> None:
    pixels = np.full((20, 20, 3), 255, np.uint8)
    pixels[10, 10] = 0
    weight = Page(pixels).weight
    assert weight[10, 10] == pytest.approx(100, abs=0.01)
    assert weight.sum() == pytest.approx(100, abs=0.01)


# ---------------------------------------------------------------- composition


@pytest.mark.parametrize(("left", "right", "expected"), [(RED, GREEN, 0.5), (BLUE, RED, 0.8333333), (RED, RED, 0)])
def test_figure_ground_contrast(left: Sequence[int], right: Sequence[int], expected: float) -> None:
    counts = composition.edge_counts(halves(left, right))
    assert composition.figure_ground_contrast(counts) == pytest.approx(expected, abs=5e-8)


def test_luminance_of_half_white_and_half_black_spreads_by_127_5() -> None:
    assert composition.luminance_sd(halves(WHITE, BLACK)) == pytest.approx(127.5)


@pytest.mark.parametrize(("place", "expected"), [((1 / 3, 2 / 3), 0), ((0, 0), 1), ((0.5, 0.5), 0.5)])
def test_distance_to_the_thirds(place: tuple[float, float], expected: float) -> None:
    assert composition.thirds_distance([place]) == pytest.approx(expected)


def test_alignment_is_the_mean_of_minus_ln_of_one_minus_the_nearest_anchors_distance() -> None:
    boxes: list[balance.AreaBox] = [(10, 10, 20, 5), (13, 50, 40, 7)]
    assert composition.alignment(boxes, 100, 100) == pytest.approx(-np.log(0.97))
    assert composition.alignment([(10, 10, 20, 5), (10, 50, 40, 7)], 100, 100) == 0


def test_overlap_is_the_mean_share_of_a_box_under_others() -> None:
    assert composition.overlap([(0, 0, 10, 10), (5, 0, 10, 20)]) == pytest.approx((50 / 100 + 50 / 200) / 2)


def test_white_space_is_what_the_union_of_the_boxes_leaves() -> None:
    assert composition.white_space([(0, 0, 50, 100), (25, 0, 50, 100)], 100, 100) == pytest.approx(0.25)


def test_saliency_finds_the_odd_one_out() -> None:
    pixels = np.full((320, 320, 3), 128, np.uint8)
    pixels[240:250, 70:80] = 255
    (x, y), _ = composition.salient_places(Page(pixels).saliency)
    assert (x, y) == (pytest.approx(75 / 320, abs=0.03), pytest.approx(245 / 320, abs=0.03))


def test_noise_is_more_cluttered_than_a_gradient_and_a_plain_page_is_not_at_all() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    gradient = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 128, 0).repeat(3, 2)
    values = [entropy.subband_entropy(Page(pixels)) for pixels in (noise, gradient, np.full_like(noise, 90))]
    assert values[0] > values[1] > values[2]
    assert values[2] == 0


def test_the_pyramids_filters_keep_all_of_the_spectrum() -> None:
    high, low = entropy.radial_filters((64, 96), cutoff=-1.0)
    assert np.allclose(high**2 + low**2, 1)


# ---------------------------------------------------------------- colour


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(BLUE, BLUE, 76.5), (RED, RED, 85.5296), (RED, GREEN, 293.25), (BLUE, RED, 272.618694)],
)
def test_colourfulness(left: Sequence[int], right: Sequence[int], expected: float) -> None:
    assert colour.colorfulness(halves(left, right)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("number", "expected"), [(2, 0), (3, 0.1536), (4, 0), (5, 0.1759), (6, 0.1536)])
def test_harmony_of_equally_spaced_hues(number: int, expected: float) -> None:
    assert harmony.find_harmony(hues(number)).distance == pytest.approx(expected, abs=5e-5)


def test_the_worst_of_all_hue_distributions_is_the_uniform_wheel() -> None:
    found = harmony.find_harmony(np.ones(harmony.BINS))
    assert (found.template, found.distance) == ("X", pytest.approx(0.180894, abs=5e-7))


def test_what_has_no_colour_is_neutral() -> None:
    assert harmony.find_harmony(harmony.hue_histogram(halves(BLACK, WHITE))).neutral


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [((50, 0, 0), (50, 0, 0), 0.251426), ((100, 0, 0), (0, 0, 0), 0.546030), ((70, 20, 30), (40, -10, -40), -0.329818)],
)
def test_two_colour_harmony(first: Sequence[float], second: Sequence[float], expected: float) -> None:
    pair = [np.array(lab, float) for lab in (first, second)]
    assert colour.pair_harmony(*pair) == pytest.approx(expected, abs=5e-7)
    assert colour.pair_harmony(*reversed(pair)) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize(
    ("text", "ground", "expected"),
    [
        ("#767676", "#ffffff", 4.5422),
        ("#ff0000", "#ffffff", 3.9985),
        ("#3b82f6", "#ffffff", 3.6779),
        ("#1e3a8a", "#fbbf24", 6.2047),
        ("#000000", "#ffffff", 21),
    ],
)
def test_wcag_contrast(text: str, ground: str, expected: float) -> None:
    lights = [contrast.relative_luminance((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16))) for c in (text, ground)]
    assert contrast.contrast_ratio(*lights) == pytest.approx(expected, abs=5e-5)


def test_white_is_lab_100_0_0_and_mid_grey_is_a_fifth_of_its_light() -> None:
    assert colour.to_lab([WHITE])[0] == pytest.approx([100, 0, 0], abs=0.01)
    assert LINEAR[119] == pytest.approx(0.1845, abs=5e-5)
