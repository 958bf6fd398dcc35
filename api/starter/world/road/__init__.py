"""A drawn road as a pedestrian or the rider of a scooter sees it, with the true hazard of every pixel.

A `Road` holds the facts; its drawing follows from them and a seed.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from api.starter.world.road.camera import HEIGHT, WIDTH, Camera, RoadCanvas
from api.starter.world.road.cells import CELLS, CLASSES, MIRRORED, NOTHING, cover, targets_of
from api.starter.world.road.ground import (
    SKIES,
    SURFACES,
    Backdrop,
    cover_below,
    draw_buildings,
    draw_decoys,
    draw_sky,
    draw_surface,
)
from api.starter.world.road.hazards import HAZARDS, Spot
from api.starter.world.words import pick

__all__ = [
    "CELLS",
    "CLASSES",
    "HEIGHT",
    "MIRRORED",
    "NOTHING",
    "WIDTH",
    "Placed",
    "Road",
    "cover",
    "render_road",
    "sample_road",
    "targets_of",
]

NEAREST = 2.3
EMPTY, MOST = 0.12, 6


@dataclass(frozen=True)
class Placed:
    """A hazard and where it stands, in metres: to the right of the camera, and ahead of it."""

    name: str
    x: float
    z: float


@dataclass(frozen=True)
class Road:
    surface: str
    sky: str
    hazards: tuple[Placed, ...] = ()


def sample_road(rng: np.random.Generator) -> Road:
    """Make up a road: one in eight is empty, the others have up to six hazards."""
    count = 0 if rng.random() < EMPTY else int(rng.integers(1, MOST + 1))
    names = list(HAZARDS)
    shares = np.array([HAZARDS[name].share for name in names])
    chosen = rng.choice(names, count, p=shares / shares.sum())
    placed = tuple(_place(str(name), rng) for name in chosen)
    sky = str(rng.choice(list(SKIES), p=(0.4, 0.3, 0.17, 0.13)))
    return Road(pick(rng, tuple(SURFACES)), sky, placed)


def _place(name: str, rng: np.random.Generator) -> Placed:
    """Near ones as often as far ones by the logarithm of the distance; within what the camera sees."""
    nearest = 4.0 if name == "vehicle" else NEAREST
    z = float(np.exp(rng.uniform(np.log(nearest), np.log(HAZARDS[name].reach))))
    return Placed(name, float(rng.uniform(-0.6, 0.6) * z), z)


def render_road(road: Road, seed: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """The picture (height, width, 3) uint8, and the hazard of each pixel (height, width): its place in CLASSES, or NOTHING."""
    rng = np.random.default_rng(seed)
    camera = Camera(rng.uniform(1.1, 1.6), rng.uniform(620, 760), rng.uniform(165, 205))
    canvas, sky = RoadCanvas(width, height), SKIES[road.sky]
    draw_sky(canvas, camera, sky, rng)
    backdrop = Backdrop(canvas, camera, sky.light, rng.uniform(2.2, 4.0), rng)
    draw_buildings(backdrop)
    cover_below(canvas, camera, backdrop.lit((110, 110, 108)))
    draw_surface(backdrop, road.surface)
    draw_decoys(backdrop)
    labels = np.full((height, width), NOTHING, np.uint8)
    for placed in sorted(road.hazards, key=lambda placed: -placed.z):
        spot = Spot(canvas, camera, placed.x, placed.z, sky.light, np.random.default_rng(rng.integers(2**31)))
        _draw_labelled(spot, placed.name, labels)
    return canvas.pixels(), labels


def _draw_labelled(spot: Spot, name: str, labels: np.ndarray) -> None:
    """Draw a hazard, and enter the pixels that it changed."""
    before = spot.canvas.packed()
    HAZARDS[name].draw(spot)
    changed = spot.canvas.packed() != before
    if HAZARDS[name].solid and changed.any():
        hull = cv2.convexHull(cv2.findNonZero(changed.astype(np.uint8)))
        changed = cv2.fillConvexPoly(np.zeros(labels.shape, np.uint8), hull, 1).astype(bool)
    labels[changed] = CLASSES.index(name)
