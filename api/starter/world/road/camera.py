"""A pinhole camera above the ground, and a canvas that it draws on. Lengths are in metres, places on the canvas in reference pixels."""

from collections.abc import Sequence

import numpy as np
import skia

from api.starter.world.canvas import Canvas, Colour, Point, argb

WIDTH, HEIGHT = 848, 480
"""Of the reference picture: every drawing is made in its coordinates, whatever the size in pixels."""


class RoadCanvas(Canvas):
    """A canvas of width × height pixels in the coordinates of the reference picture."""

    def __init__(self, width: int, height: int) -> None:
        self.rgba = np.zeros((height, width, 4), np.uint8)
        self._surface = skia.Surface(self.rgba)
        self._canvas = self._surface.getCanvas()
        self._canvas.scale(width / WIDTH, height / HEIGHT)

    def packed(self) -> np.ndarray:
        """The picture so far with one number for each pixel's colour: (height, width), uint32."""
        self._surface.flushAndSubmit()
        return self.rgba.view(np.uint32)[..., 0].copy()

    def fade(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """Fill a band of the whole width, from one colour at its top to another at its bottom."""
        ends = [skia.Point(0, top), skia.Point(0, bottom)]
        shader = skia.GradientShader.MakeLinear(ends, [argb(first), argb(last)])
        self._canvas.drawRect(skia.Rect.MakeLTRB(-WIDTH, top, 2 * WIDTH, bottom), skia.Paint(Shader=shader))


class Camera:
    """Looks along z, `height` above the ground; x runs to the right, y upwards."""

    def __init__(self, height: float, focal: float, horizon: float) -> None:
        self.height, self.focal, self.horizon = height, focal, horizon

    def point(self, x: float, y: float, z: float) -> Point:
        return WIDTH / 2 + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z

    def points(self, places: Sequence[tuple[float, float, float]]) -> list[Point]:
        return [self.point(*place) for place in places]

    def metre(self, z: float) -> float:
        """How many reference pixels a metre takes at this distance."""
        return self.focal / z

    def ground(self, left: float, right: float, near: float, far: float, height: float = 0.0) -> list[Point]:
        """The corners of a rectangle that lies flat."""
        return self.points(((left, height, near), (right, height, near), (right, height, far), (left, height, far)))
