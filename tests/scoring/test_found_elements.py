"""Elements found in the pixels, and signs that they cover each other."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from api.scoring.backends import composition
from api.scoring.backends.blocks import Block, Box
from api.scoring.backends.covering import Covering, find_covering
from api.scoring.backends.ground import NEAR, ground_along
from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout
from api.scoring.backends.page import Page
from api.starter.world.posters import render_poster, sample_poster

PAPER, INK, BLUE = (248, 250, 252), (30, 41, 59), (37, 99, 235)
SIZE = (640, 400)
WORDS = "Live on the lake stage with the quartet"


def page(paper: tuple[int, int, int] = PAPER) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", SIZE, paper)
    return image, ImageDraw.Draw(image)


def write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int) -> Box:
    draw.text(at, text, font=ImageFont.load_default(size), fill=INK)
    left, top, right, bottom = draw.textbbox(at, text, font=ImageFont.load_default(size))
    return round(left), round(top), round(right - left), round(bottom - top)


def photograph(width: int, height: int) -> Image.Image:
    colors = np.random.default_rng(3).integers(0, 170, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(colors).resize((width, height), Image.Resampling.BICUBIC)


def found(image: Image.Image) -> list[Block]:
    return Page.of(image).elements.blocks


def covering(image: Image.Image) -> Covering:
    seen = Page.of(image)
    found = find_covering(seen.gray, seen.elements)
    assert found
    return found


def same(one: Box, other: Box, tolerance: int = 5) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def test_an_empty_page_has_no_elements() -> None:
    assert found(page()[0]) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 500), (640, 2)])
def test_the_smallest_pages_are_looked_through(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    seen = Page(noise)
    assert find_covering(seen.gray, seen.elements) is None


def test_lines_of_one_size_below_each_other_are_one_paragraph() -> None:
    image, draw = page()
    boxes = [write(draw, (80, 100 + 24 * line), WORDS, 18) for line in range(3)]
    [block] = found(image)
    assert block.kind == "text"
    assert same(block.box, (80, boxes[0][1], boxes[0][2], boxes[2][1] + boxes[2][3] - boxes[0][1]))


def test_a_title_is_no_part_of_the_text_below_it() -> None:
    image, draw = page()
    title, text = write(draw, (80, 60), "Midsummer Jazz", 44), write(draw, (80, 124), WORDS, 16)
    assert [same(block.box, box) for block, box in zip(found(image), (title, text), strict=True)] == [True, True]


def test_a_button_is_one_element_with_its_label() -> None:
    image, draw = page()
    draw.rounded_rectangle((240, 180, 400, 222), 10, fill=BLUE)
    draw.text((320, 201), "Get tickets", font=ImageFont.load_default(17), fill="white", anchor="mm")
    [block] = found(image)
    assert (block.kind, same(block.box, (240, 180, 161, 43))) == ("panel", True)


def test_a_picture_is_one_element_whatever_is_in_it() -> None:
    image, _ = page()
    image.paste(photograph(260, 180), (60, 80))
    [block] = found(image)
    assert (block.kind, same(block.box, (60, 80, 260, 180))) == ("image", True)


def test_a_picture_that_fills_one_side_of_the_page_is_found() -> None:
    image, draw = page()
    image.paste(photograph(320, 400), (320, 0))
    write(draw, (40, 150), "Jazz Night", 40)
    assert {block.kind: same(block.box, (320, 0, 320, 400)) for block in found(image)} == {"image": True, "text": False}


def test_of_a_card_its_contents_count() -> None:
    image, draw = page((30, 27, 75))
    draw.rectangle((120, 60, 520, 340), fill="white")
    title = write(draw, (160, 100), "Midsummer Jazz", 40)
    assert [(block.kind, same(block.box, title)) for block in found(image)] == [("text", True)]


def test_a_large_panel_of_one_colour_is_an_element() -> None:
    image, draw = page((255, 255, 255))
    draw.rectangle((120, 80, 519, 319), fill=BLUE)
    [block] = found(image)
    assert (block.kind, same(block.box, (120, 80, 400, 240))) == ("panel", True)
    [verdict] = HeuristicScorer().score(image, [Layout()])
    assert not any("empty" in sentence for sentence in verdict.reasoning)


def test_a_panel_that_fills_a_part_of_the_page_is_the_smaller_one() -> None:
    image, draw = page((255, 255, 255))
    draw.rectangle((0, 260, 640, 400), fill=BLUE)
    assert [(block.kind, same(block.box, (0, 260, 640, 140))) for block in found(image)] == [("panel", True)]


def test_a_picture_whose_edge_runs_across_most_of_the_page_fills_no_half_of_it() -> None:
    image, _ = page()
    image.paste(photograph(500, 180), (10, 40))
    assert [same(block.box, (10, 40, 500, 180)) for block in found(image)] == [True]


def test_broad_shapes_that_are_faintly_printed_on_the_ground_are_no_elements() -> None:
    image, draw = page()
    for left in (40, 260, 480):
        draw.ellipse((left, 220, left + 120, 340), fill=(226, 228, 230))
    title = write(draw, (80, 60), "Midsummer Jazz", 44)
    assert [same(block.box, title) for block in found(image)] == [True]


def test_the_same_shapes_in_a_strong_colour_are() -> None:
    image, draw = page()
    draw.ellipse((260, 220, 380, 340), fill=BLUE)
    assert [same(block.box, (260, 220, 121, 121)) for block in found(image)] == [True]


@pytest.mark.parametrize("down", [(0, 0, 0), (40, -60, 80)])
@pytest.mark.parametrize("across", [(0, 0, 0), (-50, 30, 20)])
def test_the_ground_of_a_gradient_is_its_plane(across: tuple[int, int, int], down: tuple[int, int, int]) -> None:
    x, y = np.linspace(0, 1, 640)[None, :, None], np.linspace(0, 1, 400)[:, None, None]
    pixels = (np.array([120, 130, 90]) + x * np.array(across) + y * np.array(down)).astype(np.uint8)
    pixels[100:200, 200:300] = (250, 10, 10)
    ground = ground_along(pixels, (0, 0, 640, 400))
    apart = ground.apart(pixels)
    assert apart[100:200, 200:300].min() > NEAR >= np.delete(apart, slice(100, 200), axis=0).max()
    assert ground.share(pixels, (0, 0, 640, 400)) == pytest.approx(1 - 100 * 100 / (640 * 400), abs=0.01)


# ---------------------------------------------------------------- covering


def test_where_nothing_is_written_nothing_is_said_of_covering() -> None:
    image, _ = page()
    image.paste(photograph(300, 180), (60, 60))
    seen = Page.of(image)
    assert find_covering(seen.gray, seen.elements) is None


def test_clean_type_is_covered_by_nothing() -> None:
    image, draw = page()
    write(draw, (80, 60), "Midsummer Jazz Night", 44)
    write(draw, (80, 124), WORDS, 18)
    assert covering(image).value < 0.4
    assert covering(image).explanation.startswith("a line has 1.")


def test_writing_over_writing_is_told_with_its_strokes() -> None:
    image, draw = page()
    write(draw, (80, 60), "Midsummer Jazz Night", 44)
    write(draw, (80, 78), WORDS, 20)
    assert covering(image).value > 0.7
    assert "strokes above each other" in covering(image).explanation


def test_writing_across_the_edge_of_a_picture_is_told() -> None:
    image, draw = page()
    image.paste(photograph(300, 180), (60, 60))
    write(draw, (80, 222), "Midsummer Jazz Night", 30)
    assert covering(image).value > 1
    assert covering(image).explanation.startswith("writing runs into a picture or a button")


def test_letters_that_look_out_from_under_a_picture_are_told_with_their_strokes() -> None:
    image, draw = page()
    write(draw, (80, 40), "Midsummer Jazz Night", 30)
    image.paste(photograph(360, 180), (60, 56))
    assert covering(image).value > 1
    assert covering(image).explanation.endswith("strokes across its edge")


def test_the_rim_of_a_picture_that_fades_into_its_ground_is_no_writing() -> None:
    """A sky that begins as pale as the paper: the panel is seen from where it is darker on, and what is above it is left over."""
    rng = np.random.default_rng([31, 30])
    assert covering(Image.fromarray(render_poster(sample_poster(rng)))).value < 0.4


def test_a_single_element_in_a_corner_is_out_of_balance_and_one_in_the_middle_is_not() -> None:
    scores = []
    for at in ((20, 20), (230, 190)):
        image, draw = page()
        write(draw, at, "Midsummer Jazz", 24)
        [verdict] = HeuristicScorer().score(image, [Layout()])
        scores.append({measure.name: measure.score for measure in verdict.measures}["box_equilibrium"])
    assert scores[0] < 40 < 90 < scores[1]


def test_writing_at_a_distance_from_a_picture_is_not() -> None:
    image, draw = page()
    image.paste(photograph(300, 180), (60, 60))
    write(draw, (60, 262), "Midsummer Jazz Night", 30)
    assert covering(image).value < 0.4


# ---------------------------------------------------------------- common lines


def test_boxes_on_a_common_left_edge_middle_or_right_edge_are_in_line() -> None:
    assert composition.off_lines([(10, 0, 30, 5), (10, 20, 50, 5)], 100) == pytest.approx(0, abs=1e-9)
    assert composition.off_lines([(20, 0, 20, 5), (10, 20, 40, 5)], 100) == pytest.approx(0, abs=1e-9)
    assert composition.off_lines([(10, 0, 30, 5), (20, 20, 20, 5)], 100) == pytest.approx(0, abs=1e-9)


def test_boxes_that_mirror_each_others_margins_are_in_line() -> None:
    assert composition.off_lines([(10, 0, 30, 5), (70, 0, 20, 5)], 100) == pytest.approx(0, abs=1e-9)


def test_boxes_off_every_line_count_by_their_distance() -> None:
    assert composition.off_lines([(11, 0, 30, 5), (10, 20, 50, 5)], 100) == pytest.approx(0.5)
    assert composition.off_lines([(13, 0, 31, 5), (10, 20, 51, 5)], 100) == pytest.approx(0.75)


def test_a_single_box_is_in_line() -> None:
    assert composition.off_lines([(13, 2, 5, 5)], 100) == pytest.approx(0, abs=1e-9)
