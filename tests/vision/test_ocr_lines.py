"""Lines: their order, their text, and how they are cut out of the picture."""

import math
from typing import Any

import cv2
import numpy as np
import pytest

from api.vision.backends.ocr.margins import CONTEXT, without_margins
from api.vision.backends.ocr.straighten import HEIGHT, as_dark_on_light, narrow, noise_of, straighten, turns_of
from api.vision.ocr.lines import Polygon, TextLine, clean_text, in_reading_order
from tests.vision.ocr import draw_line


def line(text: str, x: float, y: float, width: float = 100, height: float = 20, angle: float = 0) -> TextLine:
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    polygon: Polygon = tuple((px * cosine - py * sine, px * sine + py * cosine) for px, py in corners)
    return TextLine(text, 1.0, polygon, "pp-ocr")


def order(lines: list[TextLine]) -> str:
    return "".join(one.text for one in in_reading_order(lines))


def test_lines_are_read_from_the_top_and_from_left_to_right_within_a_band() -> None:
    assert order([line("d", 0, 60), line("b", 120, 4), line("c", 240, -4), line("a", 0, 0)]) == "abcd"


@pytest.mark.parametrize("angle", [-30, -10, 10, 30])
def test_a_tilted_page_is_read_along_its_text(angle: float) -> None:
    lines = [
        line("c", 0, 30, angle=angle),
        line("b", 300, 2, angle=angle),
        line("a", 0, 0, angle=angle),
        line("d", 300, 30, angle=angle),
    ]
    assert order(lines) == "abcd"


def test_no_lines_are_in_order() -> None:
    assert in_reading_order([]) == []


def test_lines_that_overlap_a_little_stand_below_each_other() -> None:
    assert order([line("b", 0, 15), line("a", 50, 0)]) == "ab"


@pytest.mark.parametrize(
    ("raw", "text"),
    [("Tie\u0302\u0301ng", "Tiếng"), (" a\tb\n c ", "a b c"), ("a\x00b\x07", "ab"), ("\u200d👍🏽", "\u200d👍🏽"), ("\n", "")],
)
def test_text_is_nfc_on_one_line_without_control_characters(raw: str, text: str) -> None:
    assert clean_text(raw) == text


def test_a_line_says_where_it_is() -> None:
    assert line("Nhà", 3, 5).as_json() == {
        "text": "Nhà", "score": 1.0, "polygon": [[3, 5], [103, 5], [103, 25], [3, 25]],
        "box": {"xmin": 3, "ymin": 5, "xmax": 103, "ymax": 25}, "engine": "pp-ocr",
    }  # fmt: skip


# ---------------------------------------------------------------- cut out


def corners_of(*points: tuple[float, float]) -> Any:
    return np.array(points, np.float32)


def test_a_tilted_line_comes_out_as_the_straight_one_does() -> None:
    plain = np.asarray(draw_line("Nhà hàng"))
    height, width = plain.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 17, 1.0)
    turn[:, 2] += 200
    tilted = cv2.warpAffine(plain, turn, (width + 400, height + 400), flags=cv2.INTER_CUBIC, borderValue=(255, 255, 255))
    straight = corners_of((15, 20), (200, 20), (200, 65), (15, 65))
    corners = (straight @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    expected, found = straighten(plain, straight), straighten(tilted, corners)
    assert expected.shape == found.shape
    assert expected.shape[0] == HEIGHT
    assert np.abs(expected.astype(int) - found.astype(int)).mean() < 6


@pytest.mark.parametrize(("quarters", "place"), [(-1, 0), (1, 1)])
def test_an_upright_line_is_laid_down_both_ways(quarters: int, place: int) -> None:
    upright = np.asarray(draw_line("Nhà hàng"))
    turned = np.ascontiguousarray(np.rot90(upright, quarters))
    height, width = turned.shape[:2]
    turns = turns_of(corners_of((0, 0), (width, 0), (width, height), (0, height)))
    whole = straighten(turned, turns[place])
    expected = straighten(upright, corners_of((0, 0), (height, 0), (height, width), (0, width)))
    assert np.abs(whole.astype(int) - expected.astype(int)).mean() < 6


@pytest.mark.parametrize(
    "corners", [((5, 5),) * 4, ((0, 0), (4000, 0), (4000, 1), (0, 1)), ((-50, -50), (9, -50), (9, 9), (-50, 9))]
)
def test_strange_corners_give_a_line_of_a_bounded_size(corners: Any) -> None:
    found = straighten(np.asarray(draw_line("x")), corners_of(*corners))
    assert found.shape[0] == HEIGHT
    assert 1 <= found.shape[1] <= 48 * 80


def test_only_long_lines_are_narrowed() -> None:
    short, middle, long = (np.zeros((48, width, 3), np.uint8) for width in (300, 400, 2000))
    assert narrow(short) is short
    assert narrow(middle).shape == (48, 320, 3)
    assert narrow(long).shape == (48, 1500, 3)


# ---------------------------------------------------------------- margins


def page_with(*marks: tuple[int, int], size: tuple[int, int] = (800, 1280), paper: int = 255) -> Any:
    """A flat page with a dark pixel at each (row, column)."""
    page = np.full((*size, 3), paper, np.uint8)
    for row, column in marks:
        page[row, column] = paper - 100
    return page


def test_margins_are_left_out_in_whole_strides_around_what_is_there() -> None:
    rows, columns = without_margins(page_with((300, 500), (420, 900)))
    assert (rows, columns) == (slice(256, 480), slice(448, 960))
    assert min(300 - rows.start, rows.stop - 421, 500 - columns.start, columns.stop - 901) >= CONTEXT


def test_a_margin_is_never_left_out_beyond_the_picture() -> None:
    assert without_margins(page_with((0, 0), (799, 1279))) == (slice(0, 800), slice(0, 1280))
    assert without_margins(page_with((799, 1279))) == (slice(800 - 64, 800), slice(1280 - 64, 1280))
    assert without_margins(page_with((5, 5), size=(20, 40))) == (slice(0, 20), slice(0, 40))


def test_paper_may_have_any_colour_and_a_blank_picture_has_no_inside() -> None:
    assert without_margins(page_with(paper=120)) == (slice(0, 0), slice(0, 0))
    assert without_margins(page_with((400, 640), paper=120)) == without_margins(page_with((400, 640)))


def test_noise_is_no_margin_and_a_gradient_alone_holds_nothing() -> None:
    noisy = np.random.default_rng(0).integers(0, 60, (96, 128, 3), np.uint8)
    assert without_margins(noisy) == (slice(0, 96), slice(0, 128))
    gradient = np.repeat(np.linspace(0, 255, 128, dtype=np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    assert without_margins(gradient) == (slice(0, 0), slice(0, 0))


def test_letters_become_dark_on_light_whatever_they_were() -> None:
    plain = np.asarray(draw_line("Đường Nguyễn Huệ"))
    for picture in (plain, 255 - plain, (plain // 4 + 60).astype(np.uint8)):
        grey = as_dark_on_light(picture, noisy=False)
        assert np.median(grey) > 200
        assert grey.min() == 0


def test_a_flat_line_stays_flat() -> None:
    assert len(np.unique(as_dark_on_light(np.full((48, 100, 3), 90, np.uint8), noisy=True))) == 1


def test_noise_is_measured_between_edges() -> None:
    page = np.asarray(draw_line("Nhà hàng Sông Hương"))
    noisy = np.clip(page + np.random.default_rng(0).normal(0, 20, page.shape), 0, 255).astype(np.uint8)
    assert noise_of(page) == 0
    assert noise_of(noisy) > 4
    assert noise_of(np.zeros((1, 1, 3), np.uint8)) == 0
