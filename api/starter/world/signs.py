"""Traffic signs by a road, for the detector; no caption speaks of them, and no other model is trained on them.

Shapes and colours are those of the Vienna Convention on Road Signs and Signals (1968) as QCVN 41:2019/BGTVT uses them in Viet Nam:
prohibitions are red rings, orders blue discs, warnings red-rimmed triangles, which are yellow within (white in much of Europe).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from api.starter.world.canvas import UNITS, Canvas, Colour, Point, shade
from api.starter.world.scene import Scene, draw_scene, sample_scene
from api.starter.world.words import pick

RED, BLUE, YELLOW, WHITE, BLACK = (206, 32, 42), (18, 84, 168), (252, 206, 40), (250, 250, 248), (24, 24, 26)
_POLE, _ROAD = (148, 152, 158), (92, 94, 100)


@dataclass(frozen=True)
class Sign:
    """One sign: `warning` is the ground of triangles, the middle is at (x, y), and `radius` is that of a circle around it."""

    name: str
    x: float
    y: float
    radius: float
    warning: Colour = YELLOW


@dataclass(frozen=True)
class SignPicture:
    """Signs in front of a scene, on poles or, where they are shown by themselves, without."""

    scene: Scene
    signs: tuple[Sign, ...]
    has_poles: bool = True
    kind: str = "signs"

    @property
    def style(self) -> str:
        return self.scene.style


def sample_signs(rng: np.random.Generator) -> SignPicture:
    count = int(rng.choice((1, 2, 3), p=(0.4, 0.4, 0.2)))
    largest = {1: 34.0, 2: 25.0, 3: 18.0}[count]
    width = UNITS / count
    signs = []
    for column in range(count):
        radius = float(rng.uniform(9, largest))
        room = max(width / 2 - radius, 0.0)
        x = width * (column + 0.5) + float(rng.uniform(-room, room))
        y = float(rng.uniform(radius + 3, UNITS - radius - 14))
        signs.append(Sign(pick(rng, tuple(SIGNS)), x, y, radius, YELLOW if rng.random() < 0.75 else WHITE))
    return SignPicture(sample_scene(rng), tuple(signs), bool(rng.random() < 0.8))


def draw_sign_picture(canvas: Canvas, picture: SignPicture, rng: np.random.Generator) -> None:
    draw_scene(canvas, picture.scene, rng)
    if picture.has_poles:
        _draw_road(canvas, rng)
        for sign in picture.signs:
            canvas.line(
                ((sign.x, sign.y), (sign.x, UNITS + 4)), shade(_POLE, rng.uniform(0.7, 1.1)), max(1.6, sign.radius * 0.12)
            )
    for sign in picture.signs:
        with canvas.rotated(float(rng.uniform(-5, 5)), sign.x, sign.y), canvas.labelled(sign.name):
            SIGNS[sign.name](canvas, sign)
    canvas.hide_covered()


def _draw_road(canvas: Canvas, rng: np.random.Generator) -> None:
    x, half = rng.uniform(30, 98), rng.uniform(20, 40)
    canvas.polygon(((x - half * 0.3, 104), (x + half * 0.3, 104), (x + half, UNITS + 2), (x - half, UNITS + 2)), _ROAD)
    for top in (108, 116, 124):
        canvas.rect(x - 0.8, top, 1.6, 4, WHITE)


# ---------------------------------------------------------------- plates


def _around(sign: Sign, corners: int, turn: float, scale: float = 1.0) -> list[Point]:
    """A regular polygon around the sign's middle; `turn` is the first corner's angle in degrees, clockwise from the right."""
    angles = np.deg2rad(turn) + np.arange(corners) * 2 * np.pi / corners
    r = sign.radius * scale
    return [(float(sign.x + r * np.cos(angle)), float(sign.y + r * np.sin(angle))) for angle in angles]


def _at(sign: Sign, *points: Point) -> list[Point]:
    """Points in units of the radius, from the middle."""
    return [(sign.x + sign.radius * x, sign.y + sign.radius * y) for x, y in points]


def _red_border(canvas: Canvas, sign: Sign, ground: Colour = WHITE) -> None:
    canvas.circle(sign.x, sign.y, sign.radius, RED)
    canvas.circle(sign.x, sign.y, sign.radius * 0.78, ground)


def _blue_disc(canvas: Canvas, sign: Sign) -> None:
    canvas.circle(sign.x, sign.y, sign.radius, WHITE)
    canvas.circle(sign.x, sign.y, sign.radius * 0.95, BLUE)


def _triangle(canvas: Canvas, sign: Sign, turn: float) -> None:
    canvas.polygon(_around(sign, 3, turn), RED)
    canvas.polygon(_around(sign, 3, turn, 0.64), sign.warning)


def _strokes(canvas: Canvas, sign: Sign, lines: tuple[tuple[Point, ...], ...], colour: Colour, width: float) -> None:
    for line in lines:
        canvas.line(_at(sign, *line), colour, sign.radius * width)


def _arrow_up(canvas: Canvas, sign: Sign, size: float) -> None:
    canvas.polygon(_at(sign, (-0.13 * size, 0.6 * size), (-0.13 * size, 0), (0.13 * size, 0), (0.13 * size, 0.6 * size)), WHITE)
    canvas.polygon(_at(sign, (-0.42 * size, -0.05 * size), (0, -0.66 * size), (0.42 * size, -0.05 * size)), WHITE)


# ---------------------------------------------------------------- signs


def _draw_road_closed(canvas: Canvas, sign: Sign) -> None:
    _red_border(canvas, sign)


def _draw_no_entry(canvas: Canvas, sign: Sign) -> None:
    canvas.circle(sign.x, sign.y, sign.radius, RED)
    canvas.polygon(_at(sign, (-0.7, -0.17), (0.7, -0.17), (0.7, 0.17), (-0.7, 0.17)), WHITE)


def _draw_speed_limit(canvas: Canvas, sign: Sign) -> None:
    """50 km/h."""
    _red_border(canvas, sign)
    five = ((-0.08, -0.36), (-0.46, -0.36), (-0.48, -0.04), (-0.2, -0.1), (-0.06, 0.12), (-0.18, 0.36), (-0.48, 0.32))
    nought = ((0.12, -0.22), (0.3, -0.38), (0.48, -0.22), (0.48, 0.22), (0.3, 0.38), (0.12, 0.22), (0.12, -0.22))
    _strokes(canvas, sign, (five, nought), BLACK, 0.13)


def _draw_no_left_turn(canvas: Canvas, sign: Sign) -> None:
    _red_border(canvas, sign)
    _strokes(canvas, sign, (((0.24, 0.5), (0.24, -0.12), (-0.18, -0.12)),), BLACK, 0.18)
    canvas.polygon(_at(sign, (-0.14, -0.4), (-0.56, -0.12), (-0.14, 0.16)), BLACK)
    _strokes(canvas, sign, (((-0.58, -0.58), (0.58, 0.58)),), RED, 0.15)


def _draw_no_parking(canvas: Canvas, sign: Sign) -> None:
    _red_border(canvas, sign, BLUE)
    _strokes(canvas, sign, (((-0.56, -0.56), (0.56, 0.56)),), RED, 0.2)


def _draw_stop(canvas: Canvas, sign: Sign) -> None:
    canvas.polygon(_around(sign, 8, 22.5), WHITE)
    canvas.polygon(_around(sign, 8, 22.5, 0.94), RED)
    letter_s = (
        (-0.46, -0.2),
        (-0.58, -0.27),
        (-0.7, -0.2),
        (-0.7, -0.06),
        (-0.46, 0.06),
        (-0.46, 0.2),
        (-0.58, 0.27),
        (-0.7, 0.2),
    )
    letter_t = (((-0.36, -0.26), (-0.06, -0.26)), ((-0.21, -0.26), (-0.21, 0.26)))
    letter_o = ((0.04, -0.18), (0.16, -0.27), (0.28, -0.18), (0.28, 0.18), (0.16, 0.27), (0.04, 0.18), (0.04, -0.18))
    letter_p = ((0.42, 0.26), (0.42, -0.26), (0.64, -0.24), (0.68, -0.1), (0.62, 0.03), (0.42, 0.04))
    _strokes(canvas, sign, (letter_s, *letter_t, letter_o, letter_p), WHITE, 0.1)


def _draw_give_way(canvas: Canvas, sign: Sign) -> None:
    _triangle(canvas, sign, 90)


def _draw_crossroads(canvas: Canvas, sign: Sign) -> None:
    """Viet Nam's has an upright cross, Europe's a slanted one."""
    _triangle(canvas, sign, -90)
    upright = (((0, -0.26), (0, 0.28)), ((-0.27, 0.06), (0.27, 0.06)))
    slanted = (((-0.22, -0.16), (0.22, 0.28)), ((0.22, -0.16), (-0.22, 0.28)))
    _strokes(canvas, sign, upright if sign.warning == YELLOW else slanted, BLACK, 0.13)


def _draw_pedestrian_crossing(canvas: Canvas, sign: Sign) -> None:
    _triangle(canvas, sign, -90)
    canvas.circle(*_at(sign, (0.02, -0.26))[0], sign.radius * 0.075, BLACK)
    limbs = (
        ((0, -0.14), (0, 0.06)),
        ((0, 0.06), (-0.14, 0.27)),
        ((0, 0.06), (0.13, 0.27)),
        ((-0.15, 0.02), (0, -0.1), (0.15, 0)),
    )
    _strokes(canvas, sign, limbs, BLACK, 0.075)


def _draw_go_straight(canvas: Canvas, sign: Sign) -> None:
    _blue_disc(canvas, sign)
    _arrow_up(canvas, sign, 1.0)


def _draw_roundabout(canvas: Canvas, sign: Sign) -> None:
    """Three arrows that chase each other anticlockwise, as traffic keeps to the right."""
    _blue_disc(canvas, sign)
    for start in (0.0, 120.0, 240.0):
        canvas.arc(sign.x, sign.y, sign.radius * 0.52, start - 78, 70, WHITE, sign.radius * 0.15)
        with canvas.rotated(start - 84, sign.x, sign.y):
            canvas.polygon(_at(sign, (0.28, 0.04), (0.76, 0.04), (0.52, -0.28)), WHITE)


def _draw_one_way(canvas: Canvas, sign: Sign) -> None:
    """Square, blue: the arrow points the way that all traffic goes."""
    canvas.polygon(_around(sign, 4, 45), WHITE)
    canvas.polygon(_around(sign, 4, 45, 0.94), BLUE)
    _arrow_up(canvas, sign, 0.84)


SIGNS: dict[str, Callable[[Canvas, Sign], None]] = {
    "road closed sign": _draw_road_closed,  # P.101
    "no entry sign": _draw_no_entry,  # P.102
    "speed limit sign": _draw_speed_limit,  # P.127
    "no left turn sign": _draw_no_left_turn,  # P.123a
    "no parking sign": _draw_no_parking,  # P.131a
    "stop sign": _draw_stop,  # R.122
    "give way sign": _draw_give_way,  # W.208
    "crossroads sign": _draw_crossroads,  # W.205a
    "pedestrian crossing sign": _draw_pedestrian_crossing,  # W.224
    "go straight sign": _draw_go_straight,  # R.301a
    "roundabout sign": _draw_roundabout,  # R.303
    "one way sign": _draw_one_way,  # I.407a
}
