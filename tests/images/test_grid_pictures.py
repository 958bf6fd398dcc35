"""The picture of a grid: labels that can be read, cells that keep their pixels, and bounds of its size."""

import time

import numpy as np
import pytest
from PIL import Image

from api.images.grids.axes import labels_of
from api.images.grids.drawing import GROUND, GridPicture
from api.images.grids.label_layout import LONGEST_SIDE, MOST_PIXELS, lay_out, wrap
from api.images.grids.spec import LONGEST_LABEL, GridAxis
from api.runtime.labels import clean_label, text_width

COLOURS = GridAxis(field="prompt", values=("đỏ", "xanh lá", "một hồ nước yên tĩnh dưới ánh hoàng hôn"))
STEPS = GridAxis(field="steps", values=(10, 20))
SHEETS = GridAxis(field="scheduler", values=("euler", None))


@pytest.mark.parametrize("axes", [(STEPS,), (STEPS, COLOURS), (COLOURS, STEPS, SHEETS)])
@pytest.mark.parametrize("size", [(64, 64), (128, 256), (512, 320)])
def test_no_two_cells_overlap_and_all_are_within_the_picture(axes: tuple[GridAxis, ...], size: tuple[int, int]) -> None:
    layout = lay_out(axes, [size] * 12)
    count = np.zeros((layout.height, layout.width), int)
    for index in range(layout.columns * layout.rows * layout.sheets):
        slot = layout.slot(index)
        assert slot.left >= 0
        assert slot.top >= 0
        count[slot.top : slot.top + slot.height, slot.left : slot.left + slot.width] += 1
    assert count.max() == 1
    assert count.sum() == layout.columns * layout.rows * layout.sheets * size[0] * size[1]


def test_labels_stand_beside_cells_and_never_over_them() -> None:
    layout = lay_out((COLOURS, STEPS, SHEETS), [(96, 96)] * 12)
    empty = GridPicture(layout).image
    for index in range(12):
        slot = layout.slot(index)
        inside = np.asarray(empty.crop((slot.left, slot.top, slot.left + slot.width, slot.top + slot.height)))
        assert (inside == GROUND).all()
    assert (np.asarray(empty) != GROUND).any()


def test_a_smaller_picture_is_in_the_middle_of_its_place() -> None:
    layout = lay_out((STEPS,), [(64, 64), (32, 64)])
    slot = GridPicture(layout).paste(1, Image.new("RGB", (32, 64), "red"))
    place = layout.slot(1)
    assert (slot.left - place.left, slot.width, slot.height) == (16, 32, 64)


@pytest.mark.parametrize("size", [(2048, 2048), (2048, 64)])
def test_a_grid_of_large_cells_is_shown_smaller(size: tuple[int, int]) -> None:
    layout = lay_out((GridAxis(field="seed", values=tuple(range(32))), STEPS), [size] * 64)
    assert layout.scale < 1
    assert layout.width * layout.height <= MOST_PIXELS
    assert max(layout.width, layout.height) <= LONGEST_SIDE
    GridPicture(layout).paste(63, Image.new("RGB", size))


def test_a_grid_of_256_cells_can_be_drawn() -> None:
    layout = lay_out((GridAxis(field="seed", values=tuple(range(256))),), [(1024, 1024)] * 256)
    assert layout.width <= LONGEST_SIDE


@pytest.mark.parametrize("text", ["", "a", "a lake at sunset " * 40, "x" * 500, "đường một chiều " * 20, "\u202e\n\t"])
@pytest.mark.parametrize("width", [20, 90, 400])
def test_no_line_is_wider_than_its_room(text: str, width: int) -> None:
    lines = wrap(text, 13, width, 4)
    assert 1 <= len(lines) <= 4
    assert all(text_width(line, 13) <= width for line in lines)
    if text_width(clean_label(text), 13) > 5 * width:
        assert lines[-1].endswith("…")


@pytest.mark.parametrize("text", ["x" * 3_000_000, "word " * 600_000, "đỏ" * 1_000_000])
def test_a_label_of_any_length_is_laid_out_at_once(text: str) -> None:
    axis = GridAxis(field="prompt", values=(text,) * 64)
    started = time.monotonic()
    layout = lay_out((axis, STEPS, SHEETS), [(512, 512)] * 256)
    assert time.monotonic() - started < 10
    assert max(map(len, layout.column_labels)) <= 4
    assert all(len(label) <= LONGEST_LABEL for label in labels_of(axis))


def test_a_word_without_spaces_fills_each_line() -> None:
    first, *_ = wrap("i" * 200, 13, 100, 4)
    assert text_width(first, 13) <= 100 < text_width(f"{first}i", 13)
