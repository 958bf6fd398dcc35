"""The things that stand, float and fly in a scene. Each is drawn about its foot or its middle, at a size of its own."""

from collections.abc import Callable

import numpy as np

from api.starter.world.canvas import Canvas, mix
from api.starter.world.light import Light

RAINBOW = ((226, 60, 60), (244, 150, 50), (250, 226, 80), (92, 190, 96), (74, 132, 220), (140, 90, 190))


def draw_sun(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    radius = rng.uniform(9, 12)
    canvas.glow(x, y, radius * 3.2, light.sun, 0.55)
    with canvas.labelled("sun"):
        canvas.circle(x, y, radius, light.sun)


def draw_moon(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    radius = rng.uniform(9, 11)
    canvas.glow(x, y, radius * 2.4, (190, 200, 240), 0.35)
    with canvas.labelled("moon"):
        canvas.circle(x, y, radius, (244, 242, 214))
    canvas.circle(x - 3, y - 2, 2.2, (220, 216, 186))
    canvas.circle(x + 3, y + 3, 1.7, (220, 216, 186))


def draw_stars(canvas: Canvas, rng: np.random.Generator) -> None:
    for x, y, r in zip(rng.uniform(2, 126, 26), rng.uniform(2, 62, 26), rng.uniform(1.0, 1.9, 26), strict=True):
        canvas.circle(x, y, r, (255, 252, 226))


def draw_birds(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    """Three, as wide as a boat's sail: twelve pixels in strokes of two were lost between a latent's places."""
    ink = mix(light.on((40, 44, 60)), (20, 20, 34), 0.6) if sum(light.sky[0]) > 200 else (186, 194, 228)
    x = min(max(x, 26), 102)
    for dx, dy in ((-14, 5), (1, -7), (14, 6)):
        bx, by, wing = x + dx + rng.uniform(-2, 2), y + dy + rng.uniform(-1, 1), rng.uniform(7.5, 9.5)
        body, tip = wing * 0.5, wing * 0.34
        left, right = ((bx - wing, by - tip), (bx - body, by - body)), ((bx + body, by - body), (bx + wing, by - tip))
        canvas.line((*left, (bx, by), *right), ink, 2.6)


def draw_pine(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    height, green = rng.uniform(32, 42), light.on((34, 102, 70))
    canvas.rect(x - 2, y - 6, 4, 8, light.on((104, 72, 48)))
    for level, width in ((0.12, 11), (0.36, 9), (0.6, 6.5)):
        base = y - height * level
        canvas.polygon(((x - width, base), (x, base - height * 0.44), (x + width, base)), green)
        canvas.polygon(((x, base - height * 0.44), (x + width, base), (x, base)), mix(green, (0, 0, 0), 0.16))


def draw_round_tree(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    height, green = rng.uniform(28, 34), light.on((78, 158, 62))
    canvas.rect(x - 2.2, y - height * 0.5, 4.4, height * 0.5 + 2, light.on((122, 80, 50)))
    canvas.circle(x, y - height * 0.68, height * 0.36, green)
    canvas.circle(x - height * 0.1, y - height * 0.76, height * 0.2, mix(green, (255, 255, 200), 0.16))


def draw_palm(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    lean, top = rng.choice((-7, 7)), y - rng.uniform(34, 40)
    green = light.on((50, 148, 78))
    canvas.line(((x, y), (x + lean * 0.3, (y + top) / 2), (x + lean, top)), light.on((140, 98, 62)), 3.6)
    for dx, dy in ((-15, 5), (15, 5), (-12, -7), (12, -7), (-7, 12), (8, 12)):
        tip = (x + lean + dx, top + dy)
        canvas.line(((x + lean, top), (x + lean + dx * 0.55, top + dy * 0.4 - 4), tip), green, 3.2)


def draw_cactus(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    height, green = rng.uniform(28, 36), light.on((56, 140, 76))
    canvas.line(((x, y), (x, y - height)), green, 7)
    canvas.line(((x, y - height * 0.4), (x - 9, y - height * 0.4), (x - 9, y - height * 0.72)), green, 4.6)
    canvas.line(((x, y - height * 0.52), (x + 9, y - height * 0.52), (x + 9, y - height * 0.86)), green, 4.6)


def draw_house(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    half, wall = rng.uniform(13, 15), rng.uniform(15, 18)
    night = sum(light.sky[0]) < 120
    canvas.rect(x - half, y - wall, half * 2, wall + 1, light.on((250, 236, 206)))
    canvas.polygon(((x - half - 3, y - wall), (x, y - wall - 13), (x + half + 3, y - wall)), light.on((206, 66, 52)))
    canvas.rect(x - 3, y - 9, 6, 10, light.on((118, 74, 48)))
    pane = (255, 220, 112) if night else light.on((112, 172, 214))
    canvas.rect(x - half + 2.6, y - wall + 4, 5.4, 5.4, pane)
    canvas.rect(x + half - 8, y - wall + 4, 5.4, 5.4, pane)


def draw_boat(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    height, sail = rng.uniform(25, 30), mix(light.on((252, 250, 242)), (255, 255, 255), 0.25)
    canvas.polygon(((x + 0.5, y - height), (x + 0.5, y - 4), (x + 14, y - 4)), sail)
    canvas.polygon(((x - 1.5, y - height * 0.86), (x - 1.5, y - 4), (x - 11, y - 4)), mix(sail, (120, 120, 160), 0.2))
    hull = ((x - 15, y - 2.5), (x + 16, y - 2.5), (x + 11, y + 4.5), (x - 10, y + 4.5))
    canvas.polygon(hull, light.on((176, 52, 46)))


def draw_balloon(canvas: Canvas, light: Light, x: float, y: float, rng: np.random.Generator) -> None:
    red, yellow = (light.on(colour) for colour in ((228, 58, 56), (252, 206, 74)))
    if light.tint[0] < 0.5:
        red, yellow = mix(red, (228, 58, 56), 0.5), mix(yellow, (252, 206, 74), 0.5)
    canvas.line(((x - 9, y + 8), (x - 3, y + 21)), light.on((90, 70, 60)), 1)
    canvas.line(((x + 9, y + 8), (x + 3, y + 21)), light.on((90, 70, 60)), 1)
    canvas.polygon(((x - 13.2, y + 4), (x - 4, y + 17), (x + 4, y + 17), (x + 13.2, y + 4)), red)
    canvas.circle(x, y, 14, red)
    canvas.ellipse(x, y, 8.5, 14, yellow)
    canvas.ellipse(x, y, 3.4, 14, red)
    canvas.polygon(((x - 7.8, y + 5), (x - 2.6, y + 17), (x + 2.6, y + 17), (x + 7.8, y + 5)), yellow)
    canvas.polygon(((x - 3.2, y + 5), (x - 1, y + 17), (x + 1, y + 17), (x + 3.2, y + 5)), red)
    canvas.rect(x - 3.6, y + 20, 7.2, 5.5, light.on((140, 90, 52)))


def draw_rainbow(canvas: Canvas, light: Light, x: float, rng: np.random.Generator) -> None:
    radius = rng.uniform(56, 64)
    for band, colour in enumerate(RAINBOW):
        canvas.arc(x, 82, radius - 2.9 * band, 180, 180, colour, 3.1, 0.72)


Drawer = Callable[[Canvas, Light, float, float, np.random.Generator], None]
GROUND: dict[str, Drawer] = {
    "pines": draw_pine,
    "trees": draw_round_tree,
    "palms": draw_palm,
    "cacti": draw_cactus,
    "house": draw_house,
    "boat": draw_boat,
}
"""Things with a foot on the ground or the water, drawn upwards from it."""
