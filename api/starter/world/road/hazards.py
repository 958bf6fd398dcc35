"""The hazards of the road world: each is drawn with its foot at (x, z) on the ground."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from api.starter.world.canvas import Colour, mix, shade
from api.starter.world.road.camera import Camera, RoadCanvas
from api.starter.world.words import pick

CLOTHES: tuple[Colour, ...] = (
    (190, 50, 50), (40, 70, 150), (50, 120, 70), (230, 200, 70), (60, 60, 66), (220, 220, 224), (150, 80, 140), (230, 130, 60),
)  # fmt: skip
SKINS: tuple[Colour, ...] = ((244, 208, 176), (214, 164, 122), (150, 102, 70), (96, 64, 46))
PAINTS: tuple[Colour, ...] = (
    (180, 36, 40), (34, 64, 140), (226, 228, 230), (42, 44, 50), (130, 136, 144), (70, 110, 80), (220, 180, 60), (90, 140, 190),
)  # fmt: skip
GLASS: Colour = (70, 92, 112)


@dataclass(frozen=True)
class Spot:
    """Where a hazard stands and what it is drawn with."""

    canvas: RoadCanvas
    camera: Camera
    x: float
    z: float
    light: float
    rng: np.random.Generator

    def lit(self, colour: Colour) -> Colour:
        return shade(colour, self.light)

    def quad(self, left: float, right: float, bottom: float, top: float, colour: Colour) -> None:
        """An upright rectangle facing the camera, in metres from the foot."""
        corners = ((left, bottom), (right, bottom), (right, top), (left, top))
        self.shape(corners, colour)

    def shape(self, outline: Sequence[tuple[float, float]], colour: Colour) -> None:
        """An upright shape facing the camera: (x, y) in metres from the foot."""
        self.canvas.polygon([self.camera.point(self.x + x, y, self.z) for x, y in outline], self.lit(colour))

    def stroke(self, outline: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """The same as a line, its width in metres."""
        points = [self.camera.point(self.x + x, y, self.z) for x, y in outline]
        self.canvas.line(points, self.lit(colour), max(width * self.camera.metre(self.z), 1.0))

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        (cx, cy), metre = self.camera.point(self.x + x, y, self.z), self.camera.metre(self.z)
        self.canvas.ellipse(cx, cy, rx * metre, ry * metre, self.lit(colour))


def draw_hole(spot: Spot) -> None:
    """A broken edge, a dark inside, and the far wall of it in the light."""
    rng, radius = spot.rng, spot.rng.uniform(0.35, 0.8)
    deep = spot.rng.uniform(0.7, 1.0)
    angles = np.linspace(0, 2 * np.pi, 15)[:-1]
    radii = radius * rng.uniform(0.75, 1.12, len(angles))

    def outline(factor: float, shift: float = 0.0) -> list[tuple[float, float]]:
        return [
            spot.camera.point(spot.x + factor * r * np.cos(a), 0, max(spot.z + shift + deep * factor * r * np.sin(a), 1.0))
            for a, r in zip(angles, radii, strict=True)
        ]

    spot.canvas.polygon(outline(1.16), spot.lit((150, 142, 130)))
    spot.canvas.polygon(outline(1.0), spot.lit((84, 74, 64)))
    spot.canvas.polygon(outline(0.86, -0.06), spot.lit((22, 20, 20)))


def draw_step(spot: Spot) -> None:
    """Two to five risers and treads, wide as the way."""
    rng = spot.rng
    half, count = rng.uniform(0.8, 2.2), int(rng.integers(2, 6))
    rise, tread = rng.uniform(0.13, 0.18), rng.uniform(0.28, 0.4)
    stone = pick(rng, ((186, 182, 174), (164, 158, 150), (196, 180, 160)))
    for number in range(count):
        front, top = spot.z + number * tread, (number + 1) * rise
        left, right = spot.x - half, spot.x + half
        riser = spot.camera.points(
            ((left, top - rise, front), (right, top - rise, front), (right, top, front), (left, top, front))
        )
        spot.canvas.polygon(riser, spot.lit(shade(stone, 0.55)))
        spot.canvas.polygon(spot.camera.ground(left, right, front, front + tread, top), spot.lit(stone))
        spot.canvas.line(riser[2:], spot.lit((232, 226, 196)), max(0.03 * spot.camera.metre(front), 1.0))


def draw_barrier(spot: Spot) -> None:
    """A plank or two with slanted stripes on two feet."""
    rng, half = spot.rng, spot.rng.uniform(0.6, 1.1)
    colour = pick(rng, ((206, 40, 36), (206, 40, 36), (236, 150, 30)))
    for x in (-half * 0.8, half * 0.8):
        spot.quad(x - 0.05, x + 0.05, 0, 0.9, (90, 90, 94))
        spot.quad(x - 0.22, x + 0.22, 0, 0.08, (60, 60, 64))
    for bottom in (0.62, 0.2) if rng.random() < 0.7 else (0.6,):
        top, stripes = bottom + 0.28, 8
        spot.quad(-half, half, bottom, top, (240, 240, 236))
        wide = 2 * half / stripes
        for number in range(0, stripes, 2):
            left = -half + number * wide
            end = min(left + 2 * wide, half)
            spot.shape(((left, bottom), (left + wide, bottom), (end, top), (left + wide * 0.9, top)), colour)


def draw_pole(spot: Spot) -> None:
    """A lamp post, a sign on its post, or a bollard."""
    rng = spot.rng
    grey = pick(rng, ((110, 114, 118), (70, 74, 78), (160, 164, 168), (86, 96, 84)))
    kind = pick(rng, ("lamp", "sign", "bollard", "lamp"))
    half = rng.uniform(0.06, 0.12) if kind != "bollard" else rng.uniform(0.1, 0.16)
    height = {"lamp": rng.uniform(3.5, 6), "sign": rng.uniform(2.2, 2.8), "bollard": rng.uniform(0.8, 1.1)}[kind]
    spot.quad(-half, half, 0, height, grey)
    spot.quad(half * 0.3, half, 0, height, shade(grey, 0.7))
    if kind == "lamp":
        side = float(rng.choice((-1, 1)))
        spot.stroke(((0, height), (side * 0.9, height + 0.2)), grey, 0.1)
        spot.disc(side * 1.0, height + 0.15, 0.3, 0.12, (250, 240, 200))
    elif kind == "sign":
        spot.disc(0, height, 0.33, 0.33, pick(rng, ((200, 30, 36), (30, 80, 180))))
        spot.disc(0, height, 0.22, 0.22, (244, 244, 240))
    else:
        spot.quad(-half, half, height * 0.7, height * 0.85, (240, 240, 230))


def draw_cone(spot: Spot) -> None:
    height, half = spot.rng.uniform(0.5, 0.8), spot.rng.uniform(0.17, 0.23)
    orange = pick(spot.rng, ((244, 100, 24), (230, 70, 30)))
    spot.quad(-half * 1.3, half * 1.3, 0, 0.06, (40, 40, 44))
    spot.shape(((-half, 0.05), (half, 0.05), (half * 0.16, height), (-half * 0.16, height)), orange)
    low, high = 0.42, 0.68
    wide, narrow = half * (1 - low * 0.84), half * (1 - high * 0.84)
    spot.shape(
        ((-wide, low * height), (wide, low * height), (narrow, high * height), (-narrow, high * height)), (246, 246, 242)
    )


def draw_person(spot: Spot) -> None:
    """Legs in a stride, a coat, arms and a head; some carry a bag."""
    rng, tall = spot.rng, spot.rng.uniform(1.45, 1.88)
    coat, trousers, skin = pick(rng, CLOTHES), shade(pick(rng, CLOTHES), 0.6), pick(rng, SKINS)
    stride, wide = rng.uniform(0.02, 0.25), rng.uniform(0.19, 0.26)
    hip, shoulder = tall * 0.48, tall * 0.82
    for foot in (-stride, stride):
        spot.stroke(((foot, 0.06), (foot * 0.4, hip)), trousers, 0.15)
        spot.quad(foot - 0.06, foot + 0.11, 0, 0.07, (34, 30, 30))
    spot.shape(((-wide * 0.9, hip - 0.06), (wide * 0.9, hip - 0.06), (wide, shoulder), (-wide, shoulder)), coat)
    swing = rng.uniform(-0.12, 0.12)
    for side in (-1, 1):
        spot.stroke(((side * wide, shoulder - 0.06), (side * (wide + 0.05) + swing * side, hip)), shade(coat, 0.8), 0.1)
    spot.disc(0, tall - 0.13, 0.1, 0.13, skin)
    spot.disc(0, tall - 0.07, 0.105, 0.08, pick(rng, ((40, 30, 26), (90, 60, 40), (190, 160, 100), (60, 60, 64))))
    if rng.random() < 0.25:
        spot.quad(wide, wide + 0.2, hip - 0.1, hip + 0.18, pick(rng, CLOTHES))


def draw_bicycle(spot: Spot) -> None:
    """Two wheels and a frame, seen from the side or at a slant."""
    rng, turn = spot.rng, spot.rng.uniform(0.55, 1.0)
    flip, colour = float(rng.choice((-1, 1))), pick(rng, PAINTS)
    side, wheel = turn * flip, 0.34

    def at_side(*places: tuple[float, float]) -> tuple[tuple[float, float], ...]:
        return tuple((x * side, y) for x, y in places)

    for hub in (-0.53, 0.53):
        rim = [(hub + wheel * np.cos(a), wheel + wheel * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 25)]
        spot.stroke(at_side(*rim), (26, 26, 28), 0.06)
        for a in np.linspace(0, np.pi, 4)[:-1]:
            dx, dy = 0.9 * wheel * np.cos(a), 0.9 * wheel * np.sin(a)
            spot.stroke(at_side((hub - dx, wheel - dy), (hub + dx, wheel + dy)), (150, 150, 154), 0.012)
    spot.stroke(at_side((-0.53, wheel), (-0.05, 0.3), (0.4, 0.8), (-0.2, 0.82), (-0.05, 0.3)), colour, 0.05)
    spot.stroke(at_side((-0.53, wheel), (-0.2, 0.82)), colour, 0.045)
    spot.stroke(at_side((0.53, wheel), (0.4, 0.8), (0.37, 1.0), (0.5, 1.02)), (60, 60, 64), 0.05)
    spot.stroke(at_side((-0.32, 0.92), (-0.1, 0.92)), (30, 26, 26), 0.09)


def draw_vehicle(spot: Spot) -> None:
    kind = pick(spot.rng, (_draw_rear, _draw_rear, _draw_side, _draw_van))
    kind(spot)


def _draw_rear(spot: Spot) -> None:
    """A car from behind or ahead."""
    rng, paint = spot.rng, pick(spot.rng, PAINTS)
    half, tall = rng.uniform(0.82, 0.95), rng.uniform(1.4, 1.65)
    for x in (-half * 0.78, half * 0.78):
        spot.quad(x - 0.13, x + 0.13, 0, 0.4, (24, 24, 26))
    spot.shape(((-half * 0.96, 0.25), (half * 0.96, 0.25), (half, 0.9), (-half, 0.9)), paint)
    spot.shape(((-half * 0.94, 0.88), (half * 0.94, 0.88), (half * 0.72, tall), (-half * 0.72, tall)), shade(paint, 0.85))
    spot.shape(((-half * 0.8, 0.95), (half * 0.8, 0.95), (half * 0.64, tall - 0.1), (-half * 0.64, tall - 0.1)), GLASS)
    lamps = pick(rng, ((200, 30, 30), (200, 30, 30), (252, 248, 220)))
    for x in (-half * 0.8, half * 0.8):
        spot.disc(x, 0.72, 0.14, 0.09, lamps)
    spot.quad(-0.26, 0.26, 0.42, 0.55, (240, 238, 220))


def _draw_side(spot: Spot) -> None:
    """A car from the side."""
    rng, paint = spot.rng, pick(spot.rng, PAINTS)
    half, flip = rng.uniform(1.8, 2.2), float(rng.choice((-1, 1)))
    body = ((-1.0, 0.3), (1.0, 0.3), (1.0, 0.75), (0.62, 0.9), (0.32, 1.42), (-0.5, 1.45), (-0.82, 0.95), (-1.0, 0.9))
    glass = ((0.5, 0.92), (0.27, 1.33), (-0.46, 1.35), (-0.68, 0.95))
    spot.shape(tuple((x * half * flip, y) for x, y in body), paint)
    spot.shape(tuple((x * half * flip, y) for x, y in glass), GLASS)
    spot.quad(-0.06, 0.02, 0.9, 1.4, paint)
    for x in (-0.62, 0.62):
        spot.disc(x * half, 0.32, 0.33, 0.33, (24, 24, 26))
        spot.disc(x * half, 0.32, 0.17, 0.17, (170, 172, 176))


def _draw_van(spot: Spot) -> None:
    """A van or a bus from behind or ahead."""
    rng, paint = spot.rng, pick(spot.rng, PAINTS)
    half, tall = rng.uniform(0.95, 1.2), rng.uniform(2.0, 2.9)
    for x in (-half * 0.75, half * 0.75):
        spot.quad(x - 0.16, x + 0.16, 0, 0.45, (24, 24, 26))
    spot.quad(-half, half, 0.3, tall, paint)
    spot.quad(-half * 0.88, half * 0.88, tall * 0.5, tall * 0.88, GLASS)
    spot.quad(-half, half, 0.3, 0.5, mix(paint, (20, 20, 20), 0.6))
    for x in (-half * 0.8, half * 0.8):
        spot.quad(x - 0.12, x + 0.12, 0.7, 0.95, (220, 60, 40))


@dataclass(frozen=True)
class Hazard:
    draw: Callable[[Spot], None]
    share: float
    """How often it is drawn beside the others."""
    reach: float
    """The largest distance at which it is drawn: what is smaller than a cell of the far band can't be seen."""
    solid: bool = False
    """Whether the gaps in it (between spokes) count as itself."""


HAZARDS = {
    "hole": Hazard(draw_hole, 1.4, 9.0),
    "step": Hazard(draw_step, 1.0, 11.0),
    "barrier": Hazard(draw_barrier, 1.0, 16.0),
    "pole": Hazard(draw_pole, 1.3, 16.0),
    "cone": Hazard(draw_cone, 1.6, 9.0),
    "person": Hazard(draw_person, 1.2, 18.0),
    "bicycle": Hazard(draw_bicycle, 1.1, 14.0, solid=True),
    "vehicle": Hazard(draw_vehicle, 1.0, 28.0),
}
