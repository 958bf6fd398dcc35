"""Coloured shapes: one, several of a kind, or two kinds in a relation."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from api.starter.world.canvas import Canvas, Colour, mix
from api.starter.world.words import another, article, dressed, pick

COLOURS: dict[str, Colour] = {
    "red": (222, 44, 44),
    "orange": (248, 146, 30),
    "yellow": (250, 218, 52),
    "green": (54, 168, 80),
    "blue": (44, 102, 218),
    "purple": (140, 66, 182),
    "black": (30, 30, 34),
}
FORMS = ("circle", "square", "triangle", "star")
RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
NUMBERS = {1: ("one",), 2: ("two",), 3: ("three",), 4: ("four",)}
HELD_OUT_SHARE = 10  # percent
_SHORT = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_GROUNDS = ((255, 255, 255), (250, 246, 236), (236, 240, 246))


@dataclass(frozen=True)
class Group:
    """Some shapes of one form and colour."""

    form: str
    colour: str
    count: int = 1


@dataclass(frozen=True)
class Shapes:
    """`first` stands in `relation` to `second`; alone if there is no second."""

    first: Group
    second: Group | None = None
    relation: str = ""
    kind: str = "shapes"


def is_held_out(first: Group, second: Group) -> bool:
    """Whether this pair of coloured shapes is kept out of training, in either order and every relation."""
    names = sorted(f"{group.colour} {group.form}" for group in (first, second))
    return zlib.crc32("|".join(names).encode()) % 100 < HELD_OUT_SHARE


def sample_shapes(rng: np.random.Generator) -> Shapes:
    layout = rng.choice(("one", "several", "pair", "counted"), p=(0.22, 0.1, 0.56, 0.12))
    first = _group(rng, 1)
    if layout == "one":
        return Shapes(first)
    if layout == "several":
        return Shapes(_group(rng, int(rng.integers(2, 4))))
    second = _group(rng, 2 if layout == "counted" else 1)
    if (second.form, second.colour) == (first.form, first.colour):
        return Shapes(first)
    return Shapes(first, second, pick(rng, tuple(RELATIONS)))


def _group(rng: np.random.Generator, count: int) -> Group:
    return Group(pick(rng, FORMS), pick(rng, tuple(COLOURS)), count)


def change_shapes(shapes: Shapes, rng: np.random.Generator) -> Shapes:
    """The same with the two in each other's place, or a group in another form, colour or number; may be the same."""
    if shapes.second and rng.random() < 0.4:
        return replace(shapes, first=shapes.second, second=shapes.first)
    group = shapes.second if shapes.second and rng.random() < 0.5 else shapes.first
    what = pick(rng, ("form", "colour", "colour", "count") if shapes.second is None else ("form", "colour"))
    if what == "form":
        changed = replace(group, form=another(rng, FORMS, group.form))
    elif what == "colour":
        changed = replace(group, colour=another(rng, tuple(COLOURS), group.colour))
    else:
        changed = replace(group, count=int(rng.integers(1, 4)))
    first, second = (changed, shapes.second) if group is shapes.first else (shapes.first, changed)
    if second and (second.form, second.colour) == (first.form, first.colour):
        return shapes
    return replace(shapes, first=first, second=second)


def draw_shapes(canvas: Canvas, shapes: Shapes, rng: np.random.Generator) -> None:
    canvas.gradient(0, 128, [_GROUNDS[int(rng.integers(len(_GROUNDS)))]] * 2)
    with canvas.thing():
        _draw_groups(canvas, shapes, rng)


def _draw_groups(canvas: Canvas, shapes: Shapes, rng: np.random.Generator) -> None:
    if shapes.second is None:
        _draw_group(canvas, shapes.first, (64, 64), 128, rng)
        return
    near, far = rng.uniform(33, 37), rng.uniform(91, 95)
    place = {"left": (near, 64), "right": (far, 64), "above": (64, near), "below": (64, far)}
    _draw_group(canvas, shapes.first, place[shapes.relation], 64, rng)
    _draw_group(canvas, shapes.second, place[_OPPOSITE[shapes.relation]], 64, rng)


def _draw_group(canvas: Canvas, group: Group, middle: tuple[float, float], room: float, rng: np.random.Generator) -> None:
    x, y = (value + rng.uniform(-4, 4) for value in middle)
    if group.count == 1:
        _draw_shape(canvas, group, x, y, rng.uniform(18, 23) * (1.35 if room > 64 else 1))
        return
    reach = 1.0 if room > 64 else 0.45
    if group.count == 4:
        _draw_square_of_four(canvas, group, x, y, 1.0 if room > 64 else 0.68, rng)
        return
    for index in range(group.count):
        offset = (index - (group.count - 1) / 2) * 40 * (1 if room > 64 else 0.72)
        radius = (17 if room > 64 else 12.5) * rng.uniform(0.95, 1.05)
        _draw_shape(canvas, group, x + offset, y + rng.uniform(-6, 6) * reach, radius)


def _draw_square_of_four(canvas: Canvas, group: Group, x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
        radius = 16 * scale * rng.uniform(0.92, 1.05)
        _draw_shape(canvas, group, x + dx * 22 * scale, y + dy * 22 * scale, radius)


def _draw_shape(canvas: Canvas, group: Group, x: float, y: float, radius: float) -> None:
    with canvas.labelled(group.form):
        draw_form(canvas, group.form, x, y, radius, COLOURS[group.colour])


def draw_form(canvas: Canvas, form: str, x: float, y: float, r: float, colour: Colour) -> None:
    if form == "circle":
        canvas.circle(x, y, r, colour)
    if form == "square":
        canvas.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8, colour)
    if form == "triangle":
        canvas.polygon(((x, y - r), (x + r, y + r * 0.8), (x - r, y + r * 0.8)), colour)
    if form == "star":
        canvas.polygon(star_points(x, y, r * 1.12), colour)


def star_points(x: float, y: float, r: float, points: int = 5) -> list[tuple[float, float]]:
    angles = np.arange(points * 2) * np.pi / points - np.pi / 2
    radii = np.where(np.arange(points * 2) % 2 == 0, r, r * 0.46)
    return [(float(x + rr * np.cos(a)), float(y + rr * np.sin(a))) for a, rr in zip(angles, radii, strict=True)]


def soft(colour: Colour) -> Colour:
    return mix(colour, (255, 255, 255), 0.45)


def describe_shapes(shapes: Shapes, rng: np.random.Generator) -> str:
    first = name_group(shapes.first, rng)
    if shapes.second is None:
        ground = pick(rng, ("", "", " on a white background", " on a plain background"))
        return dressed(rng, first + ground)
    second, relation = name_group(shapes.second, rng), shapes.relation
    if rng.random() < 0.3:
        first, second, relation = second, first, _OPPOSITE[relation]
    return dressed(rng, f"{first} {pick(rng, _SHORT[relation])} {second}")


def name_group(group: Group, rng: np.random.Generator) -> str:
    name = f"{group.colour} {group.form}"
    return article(name) if group.count == 1 else f"{pick(rng, NUMBERS[group.count])} {name}s"
