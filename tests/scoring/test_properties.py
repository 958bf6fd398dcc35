"""What must hold for every page: flips, scale, order of colours, and the emptiest pages there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from api.scoring.backends import balance, colour, composition, contrast, harmony
from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import HEADLINES, Element, Layout, Verdict
from api.scoring.backends.page import Page
from tests.scoring.conftest import poster, write

PAGES = arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40), st.just(3)))
BOXES = st.lists(st.tuples(st.floats(0, 80), st.floats(0, 80), st.floats(0.5, 20), st.floats(0.5, 20)), min_size=1, max_size=8)
FEW = settings(max_examples=40, deadline=None)


def judge(image: Image.Image, **layout: object) -> Verdict:
    [verdict] = HeuristicScorer().score(image, [Layout(**layout)])  # type: ignore[arg-type]
    return verdict


@FEW
@given(PAGES)
def test_flipping_a_page_changes_nothing_of_its_balance_but_the_side(pixels: np.ndarray) -> None:
    mass, flipped = (balance.find_mass(Page(np.ascontiguousarray(p)).weight) for p in (pixels, pixels[:, ::-1]))
    assert flipped.closeness == pytest.approx(mass.closeness, abs=1e-5)
    assert (flipped.left_right, flipped.top_bottom) == pytest.approx((mass.left_right, mass.top_bottom), abs=1e-5)
    assert flipped.symmetry == pytest.approx(mass.symmetry, abs=1e-5)
    assert flipped.left == pytest.approx(1 - mass.left, abs=1e-5)


@FEW
@given(BOXES)
def test_flipping_boxes_changes_nothing(boxes: list[balance.AreaBox]) -> None:
    flipped = [(100 - x - w, 100 - y - h, w, h) for x, y, w, h in boxes]
    for measure in (balance.ngo_balance, balance.ngo_equilibrium, balance.ngo_density, composition.alignment):
        assert measure(flipped, 100, 100) == pytest.approx(measure(boxes, 100, 100), abs=1e-6)
    assert composition.overlap(flipped) == pytest.approx(composition.overlap(boxes), abs=1e-6)


@FEW
@given(BOXES, st.floats(0.1, 50))
def test_scaling_boxes_with_their_frame_changes_nothing(boxes: list[balance.AreaBox], scale: float) -> None:
    scaled = [(x * scale, y * scale, w * scale, h * scale) for x, y, w, h in boxes]
    for measure in (balance.ngo_balance, balance.ngo_equilibrium, balance.ngo_density, composition.alignment):
        assert measure(scaled, 100 * scale, 100 * scale) == pytest.approx(measure(boxes, 100, 100), abs=1e-6)
    assert composition.overlap(scaled) == pytest.approx(composition.overlap(boxes), abs=1e-6)


@FEW
@given(BOXES)
def test_measures_of_boxes_stay_in_their_ranges(boxes: list[balance.AreaBox]) -> None:
    assert 0 <= balance.ngo_balance(boxes, 100, 100) <= 1
    assert 0 <= balance.ngo_equilibrium(boxes, 100, 100) <= 1
    assert 0 <= balance.ngo_density(boxes, 100, 100) <= 1
    assert composition.alignment(boxes, 100, 100) >= 0


@FEW
@given(PAGES, st.randoms())
def test_colour_measures_do_not_depend_on_where_the_pixels_are(pixels: np.ndarray, random: object) -> None:
    order = list(range(pixels.shape[0] * pixels.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    page, shuffled = Page(pixels), Page(np.ascontiguousarray(pixels.reshape(-1, 3)[order].reshape(pixels.shape)))
    assert colour.colorfulness(shuffled) == pytest.approx(colour.colorfulness(page), rel=1e-6, abs=1e-4)
    assert composition.luminance_sd(shuffled) == pytest.approx(composition.luminance_sd(page), rel=1e-6, abs=1e-4)
    assert harmony.find_harmony(harmony.hue_histogram(shuffled)) == harmony.find_harmony(harmony.hue_histogram(page))
    assert colour.palette(shuffled) == colour.palette(page)


@FEW
@given(arrays(np.float64, 180, elements=st.floats(0, 1)), st.integers(0, 179))
def test_turning_all_hues_turns_the_template_and_leaves_the_harmony(histogram: np.ndarray, turn: int) -> None:
    found, turned = harmony.find_harmony(histogram), harmony.find_harmony(np.roll(histogram, turn))
    assert turned.distance == pytest.approx(found.distance, abs=1e-9)
    assert 0 <= found.distance <= 0.180895


@FEW
@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3))
def test_contrast_and_pair_harmony_are_the_same_both_ways(first: colour.RGB, second: colour.RGB) -> None:
    a, b = contrast.relative_luminance(first), contrast.relative_luminance(second)
    assert 1 <= contrast.contrast_ratio(a, b) == contrast.contrast_ratio(b, a) <= 21.0001
    labs = colour.to_lab([first, second])
    assert colour.pair_harmony(labs[0], labs[1]) == pytest.approx(colour.pair_harmony(labs[1], labs[0]))


def test_a_mirrored_poster_is_judged_nearly_the_same() -> None:
    image = poster()
    first, second = judge(image), judge(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert [second.scores[name] for name in HEADLINES] == pytest.approx([first.scores[name] for name in HEADLINES], abs=3)


def test_a_poster_at_twice_the_size_is_judged_nearly_the_same() -> None:
    image = poster()
    first, second = judge(image), judge(image.resize((1280, 800), Image.Resampling.BICUBIC))
    assert [second.scores[name] for name in HEADLINES] == pytest.approx([first.scores[name] for name in HEADLINES], abs=4)


def test_the_same_poster_gets_the_same_verdict_each_time() -> None:
    assert judge(poster()).measures == judge(poster()).measures


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 30, 90), (127, 127, 127)])
@pytest.mark.parametrize("size", [(1, 1), (640, 400), (3, 1), (1, 500), (4000, 2)])
def test_a_page_of_one_colour_has_defined_scores(size: tuple[int, int], color: colour.RGB) -> None:
    verdict = judge(Image.new("RGB", size, color), deep=True)
    assert all(0 <= (verdict.scores[name] or 0) <= 100 for name in HEADLINES)
    assert all(np.isfinite(measure.value) and 0 <= measure.score <= 100 for measure in verdict.measures)
    assert "There is nothing to see: not one edge (figure-ground contrast 0)." in verdict.reasoning


@FEW
@given(PAGES, st.booleans())
def test_every_page_has_scores_from_0_to_100(pixels: np.ndarray, deep: bool) -> None:
    verdict = judge(Image.fromarray(pixels), deep=deep)
    assert all(np.isfinite(measure.value) and 0 <= measure.score <= 100 for measure in verdict.measures)
    assert all(measure.band in ("low", "mid", "high") for measure in verdict.measures)
    assert all(0 <= (verdict.scores[name] or 0) <= 100 for name in HEADLINES)
    assert verdict.reasoning


def test_an_empty_page_is_worse_than_a_poster() -> None:
    empty, full = judge(Image.new("RGB", (640, 400), "white")), judge(poster())
    assert (full.scores["aesthetic_score"] or 0) > (empty.scores["aesthetic_score"] or 0) + 10


# ---------------------------------------------------------------- good against spoiled


def measured(verdict: Verdict, name: str) -> float:
    return next(measure.score for measure in verdict.measures if measure.name == name)


def test_pale_text_scores_less_and_the_reason_names_the_ratio() -> None:
    good, pale = judge(poster()), judge(poster(ink=(203, 213, 225)))
    assert measured(good, "text_contrast") > measured(pale, "text_contrast") + 30
    assert any("is below WCAG AA's" in sentence and ":1" in sentence for sentence in pale.reasoning)
    assert (good.scores["aesthetic_score"] or 0) > (pale.scores["aesthetic_score"] or 0)


def test_elements_that_overlap_score_less() -> None:
    apart = (Element("title", 100, 50, 440, 60), Element("text", 100, 150, 440, 60))
    over = (Element("title", 100, 50, 440, 60), Element("text", 100, 80, 440, 60))
    good, bad = judge(poster(), elements=apart), judge(poster(), elements=over)
    assert measured(good, "overlap") == 100 > measured(bad, "overlap") + 40
    assert any(sentence.startswith("Elements cover each other: 50 %") for sentence in bad.reasoning)


def test_elements_out_of_line_score_less() -> None:
    lined = tuple(Element("text", 100, 40 + 80 * i, 300, 40) for i in range(4))
    strewn = tuple(Element("text", 60 + 47 * i, 31 + 80 * i, 210 + 23 * i, 30 + 3 * i) for i in range(4))
    assert measured(judge(poster(), elements=lined), "alignment") == 100
    assert measured(judge(poster(), elements=strewn), "alignment") < 60


def test_elements_on_one_side_are_out_of_balance() -> None:
    one_sided = judge(poster(), elements=(Element("text", 10, 10, 150, 100), Element("text", 10, 120, 150, 100)))
    assert measured(one_sided, "box_balance") < 60
    assert one_sided.scores["balance_score"] < judge(poster()).scores["balance_score"]  # type: ignore[operator]


def test_clashing_hues_are_named_with_their_angle() -> None:
    stripes = np.zeros((400, 600, 3), np.uint8)
    for place, color in enumerate([(255, 0, 0), (204, 255, 0), (0, 255, 102), (0, 102, 255), (204, 0, 255)]):
        stripes[:, 120 * place : 120 * (place + 1)] = color
    verdict = judge(Image.fromarray(stripes))
    assert measured(verdict, "hue_harmony") < 10
    assert any(sentence.startswith("Hues clash: they lie 10.1°") for sentence in verdict.reasoning)


def test_a_page_full_of_small_text_is_crowded() -> None:
    image = Image.new("RGB", (640, 400), "white")
    draw = ImageDraw.Draw(image)
    for y in range(12, 400, 14):
        write(
            draw,
            (320, y),
            "every evening the harbour fills with boats, bread and news from all the islands " * 2,
            11,
            (20, 20, 30),
        )
    verdict = judge(image)
    assert measured(verdict, "edge_density") < 40 < measured(judge(poster()), "edge_density")
    assert any(sentence.startswith("It is crowded") for sentence in verdict.reasoning)


def test_reasons_come_worst_first() -> None:
    verdict = judge(poster(ink=(226, 232, 240)))
    scores = {f"{measure.sentence}.": measure.score for measure in verdict.measures if measure.fault}
    faults = [scores[sentence] for sentence in verdict.reasoning if sentence in scores]
    assert faults == sorted(faults)
    assert len(faults) >= 1
