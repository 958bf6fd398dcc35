"""What was found, drawn over the picture: boxes, polygons and cells, with labels in any script. No Django."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from PIL import Image, ImageDraw

from api.files.formats import FORMATS, encode
from api.runtime.labels import clean_label, draw_text, shorten, text_width
from api.vision.boxes import Box

Colour = tuple[int, int, int]
Point = tuple[float, float]

ANNOTATED_FORMAT = "png"
LEAST_SIDE = 480
"""A smaller picture is enlarged, so that labels can be read."""
LONGEST_LABEL = 60
PALETTE: tuple[Colour, ...] = (
    (255, 82, 82), (64, 156, 255), (62, 207, 114), (255, 176, 32), (178, 112, 255), (0, 206, 209),
    (255, 99, 190), (164, 210, 40), (255, 132, 66), (120, 144, 255), (0, 190, 150), (230, 205, 60),
)  # fmt: skip
DARK, LIGHT = (16, 16, 16), (255, 255, 255)
FILL_OPACITY = 90


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A shape in pixels of the picture, and what is written beside it. Without a colour it has its label's."""

    points: Sequence[Point]
    label: str = ""
    score: float | None = None
    colour: Colour | None = None
    filled: bool = False

    @classmethod
    def of_box(
        cls, box: Box, label: str = "", score: float | None = None, *, colour: Colour | None = None, filled: bool = False
    ) -> Self:
        corners = ((box.xmin, box.ymin), (box.xmax, box.ymin), (box.xmax, box.ymax), (box.xmin, box.ymax))
        return cls(points=corners, label=label, score=score, colour=colour, filled=filled)

    @property
    def text(self) -> str:
        label = shorten(clean_label(self.label), LONGEST_LABEL)
        return label if self.score is None else f"{label} {self.score:.2f}".lstrip()


def colour_of(label: str) -> Colour:
    """The same for the same label in every picture."""
    return PALETTE[zlib.crc32(clean_label(label).encode()) % len(PALETTE)]


def encode_annotated(image: Image.Image) -> bytes:
    return encode(image, FORMATS[ANNOTATED_FORMAT])


def draw_annotations(image: Image.Image, annotations: Sequence[Annotation]) -> Image.Image:
    """A copy with all shapes, and all labels above them; those that come first are on top."""
    zoom = max(1.0, LEAST_SIDE / max(image.size))
    size = (max(1, round(image.width * zoom)), max(1, round(image.height * zoom)))
    canvas = image.convert("RGB") if zoom == 1 else image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if canvas is image:
        canvas = image.copy()
    draw = ImageDraw.Draw(canvas, "RGBA")
    pen = LabelPen(draw, size)
    scaled = [[(x * zoom, y * zoom) for x, y in one.points] for one in annotations]
    for one, points in reversed(list(zip(annotations, scaled, strict=True))):
        draw_shape(draw, points, one, pen.line_width)
    for one, points in reversed(list(zip(annotations, scaled, strict=True))):
        pen.write(one.text, points, one.colour or colour_of(one.label))
    return canvas


def draw_shape(draw: ImageDraw.ImageDraw, points: Sequence[Point], one: Annotation, width: int) -> None:
    colour = one.colour or colour_of(one.label)
    if one.filled:
        draw.polygon(points, fill=(*colour, FILL_OPACITY))
    closed = [*points, *points[:2]]
    draw.line(closed, fill=DARK, width=width + 2, joint="curve")  # so that it can be seen on its own colour, too
    draw.line(closed, fill=colour, width=width, joint="curve")


class LabelPen:
    """Writes labels on one picture, in a size that fits it."""

    def __init__(self, draw: ImageDraw.ImageDraw, size: tuple[int, int]) -> None:
        self.draw, (self.width, self.height) = draw, size
        shorter = min(max(min(size), LEAST_SIDE), 2400)
        self.font_size = round(shorter / 34)
        self.line_width = max(2, round(shorter / 240))
        self.padding = max(2, self.font_size // 5)

    def write(self, text: str, points: Sequence[Point], colour: Colour) -> None:
        """Above the shape's left end; inside of it where there is no room."""
        text = self.fit(text)
        if not text:
            return
        wide, high = self.text_width(text) + 2 * self.padding, self.font_size + 2 * self.padding
        left, top = min(x for x, _ in points), min(y for _, y in points)
        x = max(0, min(round(left), self.width - wide))
        y = round(top) - high if top >= high else round(max(0.0, top))
        y = max(0, min(y, self.height - high))
        self.draw.rectangle((x, y, x + wide, y + high), fill=colour)
        draw_text(self.draw, (x + self.padding, y + high / 2), text, self.font_size, DARK if is_bright(colour) else LIGHT)

    def fit(self, text: str) -> str:
        """Cut so that it is not wider than the picture."""
        room = self.width - 2 * self.padding
        while text and self.text_width(text) > room:
            text = shorten(text.removesuffix("…"), len(text.removesuffix("…")) - 1) if len(text) > 2 else ""
        return text

    def text_width(self, text: str) -> int:
        return round(text_width(text, self.font_size) + 0.5)


def is_bright(colour: Colour) -> bool:
    red, green, blue = colour
    return 299 * red + 587 * green + 114 * blue > 140_000
