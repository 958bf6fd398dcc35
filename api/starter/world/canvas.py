"""A thin drawing surface over skia, in coordinates of 0..128 whatever the picture's size in pixels."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import skia

UNITS = 128
Colour = tuple[int, int, int]
Point = tuple[float, float]


def argb(colour: Colour, alpha: float = 1.0) -> int:
    """Pack an RGB colour of 0..255 and an opacity of 0..1 the way skia takes it."""
    red, green, blue = (max(0, min(255, int(channel))) for channel in colour)
    return skia.ColorSetARGB(int(255 * alpha), red, green, blue)


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """Blend linearly: 0 gives `first`, 1 gives `second`."""
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (max(0, min(255, round(channel * factor))) for channel in colour)
    return red, green, blue


SEEN_SHARE = 0.35
"""The smallest part of a thing that must be seen for it to have a box."""


@dataclass(frozen=True)
class Box:
    """Where a thing is seen: pixels, x1 and y1 behind the last one."""

    label: str
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass
class _Thing:
    label: str
    pixels: np.ndarray
    """Of the picture as it was drawn: (size, size, 3)."""
    mask: np.ndarray
    area: int

    def hide(self, now: np.ndarray) -> None:
        self.mask &= (now == self.pixels).all(axis=-1)

    def box(self) -> Box:
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return Box(self.label, int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


class Canvas:
    """Anti-aliased drawing into an RGBA array of shape (size, size, 4), uint8. With `with_boxes` it records where things are."""

    def __init__(self, size: int = UNITS, *, with_boxes: bool = False) -> None:
        self.rgba = np.zeros((size, size, 4), np.uint8)
        self._surface = skia.Surface(self.rgba)
        self._canvas = self._surface.getCanvas()
        self._canvas.scale(size / UNITS, size / UNITS)
        self.things = np.zeros((size, size), bool)
        self._with_boxes = with_boxes
        self._labelled: list[_Thing] = []

    def pixels(self) -> np.ndarray:
        """The picture so far: (size, size, 3), uint8."""
        self._surface.flushAndSubmit()
        return self.rgba[..., :3].copy()

    @contextmanager
    def thing(self) -> Iterator[None]:
        """What is drawn within the block is a thing and not the ground: its pixels are entered in `things`."""
        before = self.pixels()
        yield
        self.things |= (self.pixels() != before).any(axis=-1)

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """What is drawn within the block is one thing of this label, and has a box. Soft light belongs outside of the block."""
        if not self._with_boxes:
            yield
            return
        before = self.pixels()
        yield
        after = self.pixels()
        mask = (after != before).any(axis=-1)
        self._labelled.append(_Thing(label, after, mask, int(mask.sum())))

    def hide_covered(self) -> None:
        """Call it when what stands before the things is drawn: what it covers of them is not part of their boxes."""
        for thing in self._labelled:
            thing.hide(self.pixels())

    def boxes(self) -> list[Box]:
        """Of the things of which enough is seen, in the order in which they were drawn."""
        return [thing.box() for thing in self._labelled if thing.mask.sum() > SEEN_SHARE * thing.area]

    def mask(self, *, without: Collection[str] = ()) -> np.ndarray:
        """Where its labelled things are seen, but those of these labels: (size, size), bool."""
        masks = [thing.mask for thing in self._labelled if thing.label not in without]
        return np.logical_or.reduce(masks) if masks else np.zeros(self.rgba.shape[:2], bool)

    def rotated(self, degrees: float, x: float, y: float) -> "_Rotation":
        """Within the block, everything is drawn turned by `degrees` about (x, y)."""
        return _Rotation(self._canvas, degrees, x, y)

    def polygon(self, points: Sequence[Point], colour: Colour, alpha: float = 1.0) -> None:
        path = skia.Path()
        path.addPoly([skia.Point(*point) for point in points], True)
        self._canvas.drawPath(path, _paint(colour, alpha))

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        self._canvas.drawOval(skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry), _paint(colour, alpha))

    def circle(self, x: float, y: float, r: float, colour: Colour, alpha: float = 1.0) -> None:
        self.ellipse(x, y, r, r, colour, alpha)

    def rect(self, x: float, y: float, width: float, height: float, colour: Colour, alpha: float = 1.0) -> None:
        self._canvas.drawRect(skia.Rect.MakeXYWH(x, y, width, height), _paint(colour, alpha))

    def rounded(self, x: float, y: float, width: float, height: float, r: float, colour: Colour) -> None:
        self._canvas.drawRoundRect(skia.Rect.MakeXYWH(x, y, width, height), r, r, _paint(colour, 1.0))

    def line(self, points: Sequence[Point], colour: Colour, width: float, alpha: float = 1.0) -> None:
        path = skia.Path()
        path.addPoly([skia.Point(*point) for point in points], False)
        self._canvas.drawPath(path, _stroke(colour, width, alpha))

    def arc(
        self, x: float, y: float, r: float, start: float, sweep: float, colour: Colour, width: float, alpha: float = 1.0
    ) -> None:
        """Stroke a part of a circle; angles in degrees, clockwise from the right."""
        box = skia.Rect.MakeLTRB(x - r, y - r, x + r, y + r)
        self._canvas.drawArc(box, start, sweep, False, _stroke(colour, width, alpha))

    def gradient(
        self, y: float, height: float, colours: Sequence[Colour], degrees: float = 90, stops: Sequence[float] | None = None
    ) -> None:
        """Fill a full-width band with a gradient; 90 degrees runs from top to bottom, 0 from left to right."""
        angle = np.deg2rad(degrees)
        dx, dy = np.cos(angle) * UNITS / 2, np.sin(angle) * height / 2
        cx, cy = UNITS / 2, y + height / 2
        ends = [skia.Point(cx - dx, cy - dy), skia.Point(cx + dx, cy + dy)]
        shader = skia.GradientShader.MakeLinear(ends, [argb(c) for c in colours], list(stops) if stops else None)
        self._canvas.drawRect(skia.Rect.MakeXYWH(0, y, UNITS, height), skia.Paint(Shader=shader))

    def glow(self, x: float, y: float, r: float, colour: Colour, alpha: float) -> None:
        """A soft disc, opaque by `alpha` in the middle and nothing at radius `r`. What is behind it can still be seen."""
        self.hide_covered()
        shader = skia.GradientShader.MakeRadial(skia.Point(x, y), r, [argb(colour, alpha), argb(colour, 0)])
        self._canvas.drawRect(skia.Rect.MakeLTRB(x - r, y - r, x + r, y + r), skia.Paint(Shader=shader))
        for thing in self._labelled:
            thing.pixels = self.pixels()


class _Rotation:
    def __init__(self, canvas: skia.Canvas, degrees: float, x: float, y: float) -> None:
        self._canvas, self._degrees, self._x, self._y = canvas, degrees, x, y

    def __enter__(self) -> None:
        self._canvas.save()
        self._canvas.rotate(self._degrees, self._x, self._y)

    def __exit__(self, *_: object) -> None:
        self._canvas.restore()


def _paint(colour: Colour, alpha: float) -> skia.Paint:
    return skia.Paint(AntiAlias=True, Color=argb(colour, alpha))


def _stroke(colour: Colour, width: float, alpha: float) -> skia.Paint:
    return skia.Paint(
        AntiAlias=True,
        Color=argb(colour, alpha),
        Style=skia.Paint.kStroke_Style,
        StrokeWidth=width,
        StrokeCap=skia.Paint.kRound_Cap,
        StrokeJoin=skia.Paint.kRound_Join,
    )
