"""The picture of a grid: cells with labels around them, drawn with Pillow. No Django."""

from __future__ import annotations

from PIL import Image, ImageDraw

from api.images.grids.label_layout import CellPlace, GridLayout, Lines, wrap
from api.runtime.labels import draw_text, text_width

GROUND, INK, EMPTY, QUIET = (255, 255, 255), (24, 24, 24), (232, 232, 232), (96, 96, 96)
MOST_WORDS = 4
"""Lines in a cell without a picture."""


class GridPicture:
    """Takes the cells one by one, so that no more than one of them is in memory beside the whole."""

    def __init__(self, layout: GridLayout) -> None:
        self.layout = layout
        self.image = Image.new("RGB", (layout.width, layout.height), GROUND)
        self.draw = ImageDraw.Draw(self.image)
        self.write_labels()

    def paste(self, index: int, picture: Image.Image) -> CellPlace:
        """In the middle of its place, at the scale of all; where it lies."""
        slot, scale = self.layout.slot(index), self.layout.scale
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        shown = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
        left, top = slot.left + (slot.width - size[0]) // 2, slot.top + (slot.height - size[1]) // 2
        self.image.paste(shown, (left, top))
        return CellPlace(left, top, *size)

    def leave_empty(self, index: int, reason: str) -> CellPlace:
        slot = self.layout.slot(index)
        self.draw.rectangle((slot.left, slot.top, slot.left + slot.width - 1, slot.top + slot.height - 1), fill=EMPTY)
        lines = wrap(reason, self.layout.font_size, max(1, slot.width - 2 * self.layout.gap), MOST_WORDS)
        self.write(lines, slot.left + slot.width / 2, slot.top + slot.height / 2, QUIET)
        return slot

    def write_labels(self) -> None:
        layout = self.layout
        for sheet in range(layout.sheets):
            top = layout.gap + sheet * layout.sheet_height
            if layout.sheet_labels:
                self.write(layout.sheet_labels[sheet], layout.width / 2, top + layout.height_of(layout.sheet_labels) / 2)
            middle = top + layout.height_of(layout.sheet_labels) + layout.height_of(layout.column_labels) / 2
            for column, lines in enumerate(layout.column_labels):
                slot = layout.slot(column)
                self.write(lines, slot.left + slot.width / 2, middle)
            for row, lines in enumerate(layout.row_labels):
                slot = layout.slot((sheet * layout.rows + row) * layout.columns)
                self.write(lines, layout.gap + (layout.left - layout.gap) / 2, slot.top + slot.height / 2)

    def write(self, lines: Lines, x: float, y: float, colour: tuple[int, int, int] = INK) -> None:
        """Around a point."""
        size, height = self.layout.font_size, self.layout.line_height
        for number, line in enumerate(lines):
            middle = y + (number - (len(lines) - 1) / 2) * height
            draw_text(self.draw, (x - text_width(line, size) / 2, middle), line, size, colour)
