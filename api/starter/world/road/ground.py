"""What lies behind and below the hazards: sky, buildings, the road, its pavements, and what only resembles a hazard."""

from dataclasses import dataclass

import numpy as np

from api.starter.world.canvas import Colour, mix, shade
from api.starter.world.road.camera import HEIGHT, WIDTH, Camera, RoadCanvas
from api.starter.world.words import pick

FAR = 60.0
NEAR = 1.4


@dataclass(frozen=True)
class Sky:
    top: Colour
    bottom: Colour
    light: float
    """What every colour of the ground and of the hazards is multiplied with."""


SKIES = {
    "day": Sky((96, 160, 232), (214, 232, 246), 1.0),
    "overcast": Sky((168, 176, 186), (214, 218, 222), 0.88),
    "evening": Sky((90, 84, 140), (246, 178, 120), 0.74),
    "night": Sky((14, 18, 38), (44, 50, 78), 0.5),
}


@dataclass(frozen=True)
class Backdrop:
    """The surfaces of a scene; `edge` is half the width of the way that the camera moves on, in metres."""

    canvas: RoadCanvas
    camera: Camera
    light: float
    edge: float
    rng: np.random.Generator

    def lit(self, colour: Colour) -> Colour:
        return shade(colour, self.light)

    def flat(self, left: float, right: float, near: float, far: float, colour: Colour, alpha: float = 1.0) -> None:
        self.canvas.polygon(self.camera.ground(left, right, near, far), self.lit(colour), alpha)

    def wobbled(self, colour: Colour) -> Colour:
        return shade(colour, self.rng.uniform(0.82, 1.15))


def draw_sky(canvas: RoadCanvas, camera: Camera, sky: Sky, rng: np.random.Generator) -> None:
    canvas.fade(0, camera.horizon + 2, sky.top, sky.bottom)
    for _ in range(int(rng.integers(0, 4))):
        x, y, half = rng.uniform(0, WIDTH), rng.uniform(10, camera.horizon * 0.7), rng.uniform(30, 90)
        canvas.ellipse(x, y, half, half * 0.25, mix(sky.bottom, (255, 255, 255), 0.5 * sky.light), 0.6)


def draw_buildings(backdrop: Backdrop) -> None:
    """A row of walls with windows along the horizon, or hedges; nothing in the middle."""
    canvas, rng, horizon = backdrop.canvas, backdrop.rng, backdrop.camera.horizon
    x = -20.0
    while x < WIDTH:
        wide, middle = rng.uniform(50, 150), x + 60
        room = min(1.0, abs(middle - WIDTH / 2) / (WIDTH / 2) + 0.25)
        if rng.random() < 0.7:
            _draw_building(backdrop, x, wide, rng.uniform(40, 190) * room)
        else:
            green = backdrop.lit(backdrop.wobbled((84, 128, 70)))
            for dx in np.linspace(0, wide, 5):
                canvas.circle(x + dx, horizon - rng.uniform(0, 18), rng.uniform(16, 34), green)
        x += wide


def _draw_building(backdrop: Backdrop, x: float, wide: float, tall: float) -> None:
    rng, horizon = backdrop.rng, backdrop.camera.horizon
    wall = backdrop.wobbled(pick(rng, ((196, 176, 150), (170, 120, 100), (150, 156, 164), (210, 204, 190), (120, 110, 116))))
    backdrop.canvas.rect(x, horizon - tall, wide + 1, tall + 6, backdrop.lit(wall))
    pane = (250, 220, 130) if backdrop.light < 0.6 else (96, 120, 140)
    for row in np.arange(horizon - tall + 8, horizon - 14, 22):
        for column in np.arange(x + 8, x + wide - 12, 20):
            if rng.random() < 0.8:
                backdrop.canvas.rect(column, row, 10, 13, shade(pane, max(backdrop.light, 0.8)))


def draw_surface(backdrop: Backdrop, kind: str) -> None:
    """The ground to the horizon: a street between pavements, a pavement beside a street, or a path."""
    SURFACES[kind](backdrop)


def _draw_street(backdrop: Backdrop) -> None:
    edge = backdrop.edge
    grey = backdrop.wobbled(pick(backdrop.rng, ((104, 106, 110), (86, 88, 94), (124, 122, 120))))
    paving = backdrop.wobbled(pick(backdrop.rng, ((176, 172, 164), (190, 170, 150), (154, 156, 160))))
    _draw_paving(backdrop, -30, 30, paving)
    backdrop.flat(-edge, edge, NEAR, FAR, grey)
    for side in (-1, 1):
        backdrop.flat(side * edge - 0.09, side * edge + 0.09, NEAR, FAR, (206, 204, 198))
    lines = backdrop.rng.random()
    if lines < 0.75:
        for near in np.arange(NEAR + backdrop.rng.uniform(0, 3), 45, 4.5):
            backdrop.flat(-0.07, 0.07, near, near + 2, (236, 234, 226))
    if lines > 0.6:
        near = backdrop.rng.uniform(3, 9)
        for x in np.arange(-edge + 0.3, edge - 0.4, 0.95):
            backdrop.flat(x, x + 0.48, near, near + 2.6, (232, 232, 226))


def _draw_pavement(backdrop: Backdrop) -> None:
    """The way of a pedestrian; a street on one side and grass or a wall's foot on the other."""
    side, edge = float(backdrop.rng.choice((-1, 1))), backdrop.edge * 0.7
    beyond = backdrop.wobbled(pick(backdrop.rng, ((96, 150, 76), (150, 140, 126), (120, 160, 90))))
    backdrop.flat(-60, 60, NEAR, FAR, beyond)
    left, right = (edge, 60.0) if side > 0 else (-60.0, -edge)
    backdrop.flat(left, right, NEAR, FAR, backdrop.wobbled((98, 100, 104)))
    _draw_paving(
        backdrop, -edge, edge, backdrop.wobbled(pick(backdrop.rng, ((186, 180, 170), (196, 172, 150), (160, 162, 166))))
    )
    backdrop.flat(side * edge - 0.1, side * edge + 0.1, NEAR, FAR, (214, 212, 206))


def _draw_path(backdrop: Backdrop) -> None:
    backdrop.flat(-60, 60, NEAR, FAR, backdrop.wobbled(pick(backdrop.rng, ((96, 152, 74), (128, 156, 80), (150, 140, 96)))))
    edge = backdrop.edge * 0.6
    backdrop.flat(
        -edge, edge, NEAR, FAR, backdrop.wobbled(pick(backdrop.rng, ((190, 168, 132), (150, 146, 140), (170, 150, 120))))
    )


SURFACES = {"street": _draw_street, "pavement": _draw_pavement, "path": _draw_path}


def _draw_paving(backdrop: Backdrop, left: float, right: float, colour: Colour) -> None:
    """Slabs: their joints are lines to the vanishing point and across."""
    backdrop.flat(left, right, NEAR, FAR, colour)
    joint, size = backdrop.lit(shade(colour, 0.84)), backdrop.rng.uniform(0.5, 1.2)
    for x in np.arange(max(left, -8), min(right, 8) + 0.01, size):
        backdrop.canvas.line(backdrop.camera.points(((x, 0, NEAR), (x, 0, FAR))), joint, 1.6)
    for z in np.arange(NEAR, 16, size):
        backdrop.canvas.line(backdrop.camera.points(((left, 0, z), (right, 0, z))), joint, min(10 / z, 2))


def draw_decoys(backdrop: Backdrop) -> None:
    """What is no hazard and looks a little like one: shadows, manhole covers, puddles, leaves, stains."""
    for _ in range(int(backdrop.rng.integers(0, 5))):
        kind = pick(backdrop.rng, (_draw_shadow, _draw_manhole, _draw_puddle, _draw_stains))
        z = float(np.exp(backdrop.rng.uniform(np.log(2.4), np.log(12))))
        kind(backdrop, backdrop.rng.uniform(-0.55, 0.55) * z, z)


def _ellipse(backdrop: Backdrop, x: float, z: float, rx: float, rz: float, colour: Colour, alpha: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 21)[:-1]
    outline = [backdrop.camera.point(x + rx * np.cos(a), 0, max(z + rz * np.sin(a), 1.0)) for a in angles]
    backdrop.canvas.polygon(outline, backdrop.lit(colour), alpha)


def _draw_shadow(backdrop: Backdrop, x: float, z: float) -> None:
    slant, wide, deep = backdrop.rng.uniform(-1.5, 1.5), backdrop.rng.uniform(0.3, 1.6), backdrop.rng.uniform(0.5, 2.5)
    corners = ((x, 0, z), (x + wide, 0, z), (x + wide + slant, 0, z + deep), (x + slant, 0, z + deep))
    backdrop.canvas.polygon(backdrop.camera.points(corners), (20, 20, 30), backdrop.rng.uniform(0.2, 0.45))


def _draw_manhole(backdrop: Backdrop, x: float, z: float) -> None:
    _ellipse(backdrop, x, z, 0.36, 0.36, (120, 116, 110), 1.0)
    _ellipse(backdrop, x, z, 0.31, 0.31, (92, 90, 88), 1.0)
    for dx in (-0.15, 0.0, 0.15):
        backdrop.canvas.line(
            backdrop.camera.points(((x + dx, 0, z - 0.22), (x + dx, 0, z + 0.22))), backdrop.lit((124, 120, 114)), 1.5
        )


def _draw_puddle(backdrop: Backdrop, x: float, z: float) -> None:
    _ellipse(backdrop, x, z, backdrop.rng.uniform(0.4, 0.9), backdrop.rng.uniform(0.3, 0.7), (150, 176, 204), 0.65)


def _draw_stains(backdrop: Backdrop, x: float, z: float) -> None:
    for _ in range(int(backdrop.rng.integers(3, 9))):
        dx, dz = backdrop.rng.uniform(-0.8, 0.8), backdrop.rng.uniform(-0.8, 0.8)
        colour = pick(backdrop.rng, ((190, 120, 40), (120, 90, 50), (70, 66, 64)))
        _ellipse(backdrop, x + dx, z + dz, 0.06, 0.05, colour, 0.9)


def cover_below(canvas: RoadCanvas, camera: Camera, colour: Colour) -> None:
    """The strip of ground below the nearest that a flat surface can be drawn at."""
    canvas.fade(camera.horizon, HEIGHT, colour, colour)
