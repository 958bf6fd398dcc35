"""The ground of a scene, from the far layers to the near ones."""

from collections.abc import Callable, Sequence

import numpy as np

from api.starter.world.canvas import UNITS, Canvas, Colour, mix, shade
from api.starter.world.light import Light

HORIZON = 70.0
GRASS = (116, 186, 84)


def ridge(base: float, height: float, rng: np.random.Generator, peaks: int) -> list[tuple[float, float]]:
    """A jagged outline: the tops and the valleys between them, from left to right."""
    points, step = [(-6.0, base)], (UNITS + 12) / peaks
    for peak in range(peaks):
        left = -6 + step * peak
        points.append((left + step * rng.uniform(0.42, 0.58), base - height * rng.uniform(0.65, 1)))
        points.append((left + step, base - height * rng.uniform(0.1, 0.3)))
    return points


def wave(base: float, height: float, rng: np.random.Generator, bumps: float) -> list[tuple[float, float]]:
    """A smooth outline: a sine of `bumps` periods with a random phase."""
    xs = np.linspace(-2, UNITS + 2, 34)
    ys = base - height * 0.5 * (1 + np.sin(xs / UNITS * 2 * np.pi * bumps + rng.uniform(0, 2 * np.pi)))
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def fill_below(canvas: Canvas, outline: Sequence[tuple[float, float]], bottom: float, colour: Colour) -> None:
    canvas.polygon([*outline, (UNITS + 8, bottom), (-8, bottom)], colour)


def _peaks(
    canvas: Canvas, light: Light, base: float, height: float, rng: np.random.Generator, colour: Colour, snowcap: bool
) -> None:
    outline = ridge(base, height, rng, int(rng.integers(2, 4)))
    fill_below(canvas, outline, base + 1, light.on(colour))
    for index in range(1, len(outline) - 1, 2) if snowcap else ():
        (x0, y0), (x, y), (x1, y1) = outline[index - 1 : index + 2]
        t = 0.34
        left, right = (x + (x0 - x) * t, y + (y0 - y) * t), (x + (x1 - x) * t, y + (y1 - y) * t)
        canvas.polygon((left, (x, y), right, (x + 2, right[1] - 3), (x - 2, left[1] + 1)), light.on((250, 250, 255)))


def _water(canvas: Canvas, light: Light, top: float, bottom: float, rng: np.random.Generator) -> None:
    deep = light.on((48, 128, 190))
    near = mix(light.sky[0], deep, 0.55)
    canvas.gradient(top, bottom - top, [mix(light.sky[2], deep, 0.3), mix(light.sky[1], deep, 0.42), near])
    for _ in range(9):
        x, y, half = rng.uniform(4, 124), rng.uniform(top + 4, bottom - 3), rng.uniform(5, 14)
        canvas.line(((x - half, y), (x + half, y)), mix(light.sky[2], (255, 255, 255), 0.35), 1.1, 0.5)


def draw_lake(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    _peaks(canvas, light, HORIZON, rng.uniform(26, 36), rng, (134, 146, 184), snowcap=True)
    fill_below(canvas, wave(HORIZON - 3, 11, rng, 1.3), HORIZON + 1, light.on((86, 142, 104)))
    _water(canvas, light, HORIZON, UNITS, rng)
    canvas.gradient(HORIZON, 3, [light.on((62, 110, 92)), mix(light.sky[2], light.on((48, 128, 190)), 0.4)])
    shore = wave(119, 7, rng, 0.7)
    fill_below(canvas, shore, UNITS + 2, shade(light.on((76, 134, 66)), 0.86))


def draw_sea(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    _water(canvas, light, HORIZON - 2, UNITS, rng)
    beach = wave(114, 5, rng, 0.8)
    fill_below(canvas, [(x, y - 2.5) for x, y in beach], UNITS + 2, mix(light.sky[2], (255, 255, 255), 0.45))
    fill_below(canvas, beach, UNITS + 2, light.on((240, 214, 150)))


def draw_mountains(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    _peaks(canvas, light, 92, rng.uniform(52, 62), rng, (146, 158, 196), snowcap=True)
    _peaks(canvas, light, 104, rng.uniform(38, 46), rng, (98, 112, 158), snowcap=True)
    fill_below(canvas, wave(106, 9, rng, 1.1), UNITS + 2, light.on((92, 146, 92)))


def draw_hills(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    for base, height, colour in ((84, 22, (160, 208, 130)), (100, 22, (126, 190, 96)), (117, 20, (92, 162, 70))):
        fill_below(canvas, wave(base, height, rng, rng.uniform(0.9, 1.5)), UNITS + 2, light.on(colour))


def draw_forest(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    fill_below(canvas, wave(66, 5, rng, 1.2), UNITS + 2, light.on((92, 142, 112)))
    for base, height, half, colour in ((88, 42, 9, (84, 138, 108)), (106, 46, 11, (54, 112, 82)), (128, 48, 13, (28, 80, 58))):
        for x in np.arange(-4, UNITS + 8, half * 1.25) + rng.uniform(-3, 3):
            tall, foot = height * rng.uniform(0.75, 1.05), base + rng.uniform(-2, 2)
            canvas.polygon(((x - half, foot), (x, foot - tall), (x + half, foot)), light.on(colour))
        canvas.rect(0, base - 3, UNITS, UNITS, light.on(colour))


def draw_desert(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    for base, height, colour in ((82, 16, (246, 216, 150)), (98, 16, (236, 194, 118)), (115, 17, (220, 168, 90))):
        fill_below(canvas, wave(base, height, rng, rng.uniform(0.7, 1.2)), UNITS + 2, light.on(colour))


def draw_meadow(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    fill_below(canvas, wave(80, 5, rng, 0.8), UNITS + 2, light.on((150, 204, 108)))
    fill_below(canvas, wave(92, 4, rng, 0.7), UNITS + 2, light.on(GRASS))
    for index in range(34):
        y = rng.uniform(90, 125)
        colour = ((238, 74, 84), (252, 214, 72), (250, 250, 250), (190, 110, 210))[index % 4]
        canvas.circle(rng.uniform(2, 126), y, 0.8 + (y - 84) / 22, mix(light.on(colour), colour, 0.2))


def draw_city(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    night = light.tint[0] < 0.5
    pane = (255, 222, 120) if night else light.on((214, 232, 246))
    for base, low, high, colour in ((112, 34, 62, (150, 164, 190)), (112, 20, 50, (98, 112, 146))):
        x = rng.uniform(-8, 0)
        while x < UNITS:
            width, height = rng.uniform(13, 20), rng.uniform(low, high)
            canvas.rect(x, base - height, width, height + 2, light.on(colour))
            _windows(canvas, x, base - height, width, height, pane, rng)
            x += width + rng.uniform(-1, 3)
    canvas.rect(0, 110, UNITS, 20, light.on((84, 92, 112)))
    canvas.rect(0, 117, UNITS, 2, light.on((226, 222, 200)), 0.8)


def _windows(canvas: Canvas, x: float, y: float, width: float, height: float, pane: Colour, rng: np.random.Generator) -> None:
    for wy in np.arange(y + 4, y + height - 5, 7):
        for wx in np.arange(x + 2.5, x + width - 4, 5.5):
            if rng.random() < 0.75:
                canvas.rect(wx, wy, 3, 3.6, pane)


def draw_snow(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    for base, height, colour in ((82, 14, (214, 226, 242)), (97, 13, (232, 240, 250)), (114, 13, (250, 252, 255))):
        fill_below(canvas, wave(base, height, rng, rng.uniform(0.7, 1.2)), UNITS + 2, light.on(colour))


LANDFORMS: dict[str, Callable[[Canvas, Light, np.random.Generator], None]] = {
    "lake": draw_lake,
    "sea": draw_sea,
    "mountains": draw_mountains,
    "hills": draw_hills,
    "forest": draw_forest,
    "desert": draw_desert,
    "meadow": draw_meadow,
    "city": draw_city,
    "snow": draw_snow,
}
FOOT = {
    "lake": 112,
    "sea": 119,
    "mountains": 112,
    "hills": 112,
    "forest": 122,
    "desert": 114,
    "meadow": 102,
    "city": 112,
    "snow": 112,
}
"""Where a thing's foot stands, by landform."""
WATER = {"lake": 96.0, "sea": 92.0}
"""Where a boat floats."""
