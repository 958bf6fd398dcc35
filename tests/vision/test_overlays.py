"""What was found, drawn over the picture: labels of any script, and nothing of the picture lost."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from api.runtime import labels
from api.runtime.labels import clean_label, fonts, has_glyph, runs_of
from api.vision.boxes import Box
from api.vision.overlays import DARK, LEAST_SIDE, Annotation, LabelPen, colour_of, draw_annotations, encode_annotated

VIETNAMESE = "àáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđ"
GROUND = (200, 200, 200)


def page(size: tuple[int, int] = (800, 600)) -> Image.Image:
    return Image.new("RGB", size, GROUND)


def changed(image: Image.Image, box: tuple[int, int, int, int] | None = None) -> bool:
    part = image.crop(box) if box else image
    return ImageChops.difference(part, Image.new("RGB", part.size, GROUND)).getbbox() is not None


def written(text: str) -> Image.Image:
    """A label as it is drawn."""
    canvas = Image.new("RGB", (900, 60), "white")
    LabelPen(ImageDraw.Draw(canvas), canvas.size).write(text, [(2, 30), (20, 50)], (255, 255, 255))
    return canvas


# ---------------------------------------------------------------- labels


def test_the_font_in_the_repository_has_every_vietnamese_letter() -> None:
    assert fonts()[0].parent.name == "fonts"
    assert [letter for letter in [*VIETNAMESE, *VIETNAMESE.upper()] if not has_glyph(fonts()[0], letter)] == []


def test_letters_that_differ_in_a_mark_are_drawn_differently() -> None:
    """OpenCV's putText draws ờ as ớ."""
    pictures = {letter: written(letter).tobytes() for letter in VIETNAMESE}
    assert len(set(pictures.values())) == len(VIETNAMESE)


def test_a_label_in_nfd_is_drawn_as_in_nfc() -> None:
    label = "Đường một chiều, cấm rẽ trái"
    boxes = [Annotation.of_box(Box(50, 100, 300, 200), unicodedata.normalize(form, label)) for form in ("NFC", "NFD")]
    first, second = (draw_annotations(page(), [box]) for box in boxes)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("label", "clean"),
    [
        ("me\u0300o", "mèo"),
        (" two\n lines\t", "two lines"),
        ("⚠️ sign", "⚠ sign"),
        ("\u202ertl\x00", "rtl"),
        ("👩\u200d🚒", "👩🚒"),
        ("\x00\x1b[31m", "[31m"),
        ("", ""),
    ],
)
def test_a_label_is_one_line_of_letters_that_have_a_shape(label: str, clean: str) -> None:
    assert clean_label(label) == clean


def test_a_long_label_is_cut_with_a_sign_and_keeps_its_score() -> None:
    text = Annotation.of_box(Box(0, 0, 1, 1), "x" * 300, 0.5).text
    assert (len(text), text[-6:]) == (65, "… 0.50")


@pytest.mark.parametrize("width", [40, 120, 500])
def test_a_label_is_never_wider_than_the_picture(width: int) -> None:
    canvas = Image.new("RGB", (width, 600))
    pen = LabelPen(ImageDraw.Draw(canvas), canvas.size)
    for text in ("W" * 60, "cấm đỗ xe"):
        assert pen.text_width(pen.fit(text)) <= width - 2 * pen.padding


def test_a_letter_is_drawn_by_the_first_font_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = fonts()[0], tmp_path / "other.ttf"
    other.write_bytes(first.read_bytes())
    monkeypatch.setattr(labels, "fonts", lambda: (first, other))
    monkeypatch.setattr(labels, "has_glyph", lambda path, letter: (path == other) == (letter in "禁止"))
    labels.path_for.cache_clear()
    assert list(runs_of("a禁止b")) == [(first, "a"), (other, "禁止"), (first, "b")]
    labels.path_for.cache_clear()


def test_a_label_has_one_colour_in_every_picture() -> None:
    assert colour_of("mèo") == colour_of("me\u0300o")
    assert len({colour_of(f"class {number}") for number in range(80)}) > 8


# ---------------------------------------------------------------- shapes


def test_a_box_is_drawn_along_its_edges_with_its_label_above() -> None:
    image = draw_annotations(page(), [Annotation.of_box(Box(100, 200, 500, 400), "cat", 0.9)])
    colour = colour_of("cat")
    for point in ((300, 200), (300, 400), (100, 300), (500, 300)):
        assert image.getpixel(point) == colour
    assert image.getpixel((300, 300)) == GROUND
    assert image.getpixel((102, 190)) in (colour, DARK)
    assert not changed(image, (600, 0, 800, 600))


def test_a_filled_cell_lets_the_picture_through() -> None:
    cell = Annotation.of_box(Box(100, 200, 500, 400), colour=(255, 0, 0), filled=True)
    red, green, blue = draw_annotations(page(), [cell]).getpixel((300, 300))
    assert red > 210
    assert 100 < green == blue < 190


def test_a_polygon_is_drawn_along_its_sides() -> None:
    corners = [(100, 100), (400, 180), (380, 300), (80, 220)]
    image = draw_annotations(page(), [Annotation(points=corners, colour=(255, 0, 0))])
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        middle = ((x1 + x2) // 2, (y1 + y2) // 2)
        around = np.asarray(image.crop((middle[0] - 3, middle[1] - 3, middle[0] + 4, middle[1] + 4))).reshape(-1, 3)
        assert (around == (255, 0, 0)).all(axis=1).any()


def test_labels_stay_within_the_picture() -> None:
    corners = [Box(0, 0, 30, 30), Box(770, 0, 800, 30), Box(0, 570, 30, 600), Box(770, 570, 800, 600)]
    image = draw_annotations(page(), [Annotation.of_box(box, "cấm đỗ xe", 0.5) for box in corners])
    ink = np.asarray(image)[:, 600:]
    assert image.size == (800, 600)
    assert (ink == colour_of("cấm đỗ xe")).all(axis=2).sum() > 1000  # of those on the right the whole label


def test_what_comes_first_is_on_top() -> None:
    box = Box(100, 200, 500, 400)
    image = draw_annotations(page(), [Annotation.of_box(box, "best"), Annotation.of_box(box, "other")])
    assert image.getpixel((300, 200)) == colour_of("best")


def test_the_picture_itself_is_not_changed() -> None:
    image = page()
    draw_annotations(image, [Annotation.of_box(Box(1, 1, 500, 500), "cat")])
    assert not changed(image)


@pytest.mark.parametrize(
    ("size", "drawn"), [((64, 40), (480, 300)), ((1, 1), (480, 480)), ((800, 20), (800, 20)), ((20_000, 10), (20_000, 10))]
)
def test_a_small_picture_is_enlarged_so_that_labels_can_be_read(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    image = draw_annotations(page(size), [Annotation.of_box(Box(0, 0, *size), "cấm đỗ xe", 0.5)])
    assert image.size == drawn
    assert max(image.size) >= LEAST_SIDE


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_picture_of_any_mode_can_be_drawn_over(mode: str) -> None:
    image = draw_annotations(page().convert(mode), [Annotation.of_box(Box(100, 100, 200, 200), "cat")])
    assert image.mode == "RGB"
    assert encode_annotated(image).startswith(b"\x89PNG")
