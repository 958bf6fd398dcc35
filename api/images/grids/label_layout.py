"""Where the cells and their labels are in the picture. Sizes in pixels. No Django."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from api.images.grids.axes import labels_of, shape_of
from api.images.grids.spec import LONGEST_LABEL, GridAxis
from api.runtime.labels import clean_label, shorten, text_width

MOST_PIXELS, LONGEST_SIDE = 50_000_000, 16_000  # WebP ends at 16,383
LEAST_FONT, LARGEST_FONT = 13, 44
CELL_PER_FONT = 20
"""How many times as wide as its letters are high a cell is."""
LINE_HEIGHT = 1.35
MOST_LINES = 4
ROW_LABEL_SHARE = 0.6
"""The widest label of a row, as a part of a cell's width."""
LEAST_ROW_LABEL = 90

Lines = tuple[str, ...]


@dataclass(frozen=True)
class CellPlace:
    """The place of one cell."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class GridLayout:
    """`cell`: width and height of the largest cell as it is shown; `scale`: of a picture's size that part."""

    columns: int
    rows: int
    sheets: int
    cell: tuple[int, int]
    scale: float
    font_size: int
    column_labels: tuple[Lines, ...]
    row_labels: tuple[Lines, ...]
    """Of one row without a label: none."""
    sheet_labels: tuple[Lines, ...]
    left: int
    """The width of the labels of rows."""

    @property
    def gap(self) -> int:
        return max(4, self.font_size // 3)

    @property
    def line_height(self) -> int:
        return math.ceil(self.font_size * LINE_HEIGHT)

    def height_of(self, labels: Sequence[Lines]) -> int:
        """Of labels side by side, with the gap below them; 0 of none."""
        return max(map(len, labels)) * self.line_height + self.gap if labels else 0

    @property
    def top(self) -> int:
        """The height of what is above the cells of a sheet."""
        return self.height_of(self.sheet_labels) + self.height_of(self.column_labels)

    @property
    def sheet_height(self) -> int:
        return self.top + self.rows * (self.cell[1] + self.gap)

    @property
    def width(self) -> int:
        return self.gap + self.left + self.columns * (self.cell[0] + self.gap)

    @property
    def height(self) -> int:
        return self.gap + self.sheets * self.sheet_height

    def slot(self, index: int) -> CellPlace:
        """Of the cell with this number."""
        row, column = divmod(index % (self.columns * self.rows), self.columns)
        sheet = index // (self.columns * self.rows)
        left = self.gap + self.left + column * (self.cell[0] + self.gap)
        top = self.gap + sheet * self.sheet_height + self.top + row * (self.cell[1] + self.gap)
        return CellPlace(left, top, *self.cell)


def lay_out(axes: Sequence[GridAxis], sizes: Sequence[tuple[int, int]]) -> GridLayout:
    """`sizes` of the cells' pictures, width and height. Cells are shown smaller where the whole would be too large."""
    largest = max(width for width, _ in sizes), max(height for _, height in sizes)
    layout = at_scale(axes, largest, 1.0)
    while layout.width * layout.height > MOST_PIXELS or max(layout.width, layout.height) > LONGEST_SIDE:
        too_many = layout.width * layout.height / MOST_PIXELS
        too_long = max(layout.width, layout.height) / LONGEST_SIDE
        layout = at_scale(axes, largest, layout.scale * 0.99 / max(math.sqrt(too_many), too_long, 1.0))
    return layout


def at_scale(axes: Sequence[GridAxis], largest: tuple[int, int], scale: float) -> GridLayout:
    cell = max(1, round(largest[0] * scale)), max(1, round(largest[1] * scale))
    size = min(LARGEST_FONT, max(LEAST_FONT, cell[0] // CELL_PER_FONT))
    columns, rows, sheets = shape_of(axes)
    column_texts, row_texts, sheet_texts = (*(labels_of(axis) for axis in axes), [], [])[:3]
    most_left = max(LEAST_ROW_LABEL, round(cell[0] * ROW_LABEL_SHARE))
    row_lines = max(1, min(MOST_LINES, cell[1] // math.ceil(size * LINE_HEIGHT)))
    row_labels = tuple(wrap(text, size, most_left, row_lines) for text in row_texts)
    left = math.ceil(max((text_width(line, size) for lines in row_labels for line in lines), default=0))
    gap = max(4, size // 3)
    return GridLayout(
        columns=columns,
        rows=rows,
        sheets=sheets,
        cell=cell,
        scale=scale,
        font_size=size,
        column_labels=tuple(wrap(text, size, cell[0], MOST_LINES) for text in column_texts),
        row_labels=row_labels,
        sheet_labels=tuple(wrap(text, size, left + columns * (cell[0] + gap), MOST_LINES) for text in sheet_texts),
        left=left + gap if left else 0,
    )


def wrap(text: str, size: int, width: int, most_lines: int) -> Lines:
    """The text in lines that are no wider; what does not fit in so many of them is cut off with an ellipsis."""
    text = clean_label(
        shorten(text, LONGEST_LABEL)
    )  # each line is measured several times, and Pillow takes no text of any length
    lines = list(islice(fill(text, size, width), most_lines + 1))
    if len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], shortened(f"{lines[most_lines - 1]}…", size, width)]
    return tuple(lines)


def fill(text: str, size: int, width: int) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        for piece in pieces(word, size, width):
            together = f"{line} {piece}" if line else piece
            if line and text_width(together, size) > width:
                yield line
                line = piece
            else:
                line = together
    yield line


def pieces(word: str, size: int, width: int) -> Iterator[str]:
    """The word, in parts where it is wider than a line."""
    while text_width(word, size) > width and len(word) > 1:
        lengths = range(1, len(word))
        fitting = max(1, bisect_right(lengths, width, key=lambda length: math.ceil(text_width(word[:length], size))))
        yield word[:fitting]
        word = word[fitting:]
    yield word


def shortened(text: str, size: int, width: int) -> str:
    while len(text) > 1 and text_width(text, size) > width:
        text = shorten(text.removesuffix("…"), len(text) - 2) if len(text) > 2 else "…"
        text = text if text.endswith("…") else f"{text}…"
    return text
