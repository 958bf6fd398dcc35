"""Labelled pictures for dialogues: rendered from the world, and single plain shapes on white."""

from dataclasses import dataclass

import numpy as np

from api.starter import world
from api.starter.world.canvas import Canvas, Colour
from api.starter.world.shapes import COLOURS, FORMS, RELATIONS, Group, Shapes, draw_form, is_held_out
from api.starter.world.words import pick

SIZE = 128
SHARES = {"world": 0.6, "plain": 0.18, "counted": 0.22}
MAX_COUNT = 4
OTHER_SHADES: dict[str, tuple[Colour, ...]] = {
    "red": ((255, 0, 0), (200, 30, 30), (222, 44, 44)),
    "orange": ((255, 165, 0), (255, 140, 0), (248, 146, 30)),
    "yellow": ((255, 255, 0), (250, 218, 52), (255, 230, 0)),
    "green": ((0, 128, 0), (0, 255, 0), (54, 168, 80), (0, 200, 0)),
    "blue": ((0, 0, 255), (44, 102, 218), (30, 60, 200)),
    "purple": ((128, 0, 128), (140, 66, 182), (110, 40, 170)),
    "black": ((0, 0, 0), (30, 30, 34)),
}
"""Further RGB values that these colour names stand for."""
CORNERS = {
    (0, 0): "in the top left corner",
    (1, 0): "at the top",
    (2, 0): "in the top right corner",
    (0, 1): "on the left",
    (1, 1): "in the middle",
    (2, 1): "on the right",
    (0, 2): "in the bottom left corner",
    (1, 2): "at the bottom",
    (2, 2): "in the bottom right corner",
}
_CENTERS = (26, 64, 102)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, (128, 128, 3) uint8, with its facts. `place`: the position of a single plain shape, in words."""

    pixels: np.ndarray
    facts: world.Picture
    place: str = ""


def sample_picture(rng: np.random.Generator, *, held_out: bool = False) -> LabelledPicture:
    """A random picture. Those with a held-out combination of facts come only with `held_out`, and never in training."""
    if held_out:
        while not world.is_held_out(picture := world.sample(rng)):
            pass
        return LabelledPicture(world.render(picture, int(rng.integers(2**31))), picture)
    sort = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    if sort == "plain":
        return plain_shape_picture(rng)
    picture = counted_shapes(rng) if sort == "counted" else world.sample_for_training(rng)
    return LabelledPicture(world.render(picture, int(rng.integers(2**31))), picture)


def counted_shapes(rng: np.random.Generator) -> Shapes:
    """One to four of a form, or two groups of them: the world's own shapes come alone or in pairs."""
    while True:
        first, second = (
            Group(pick(rng, FORMS), pick(rng, tuple(COLOURS)), int(rng.integers(1, MAX_COUNT + 1))) for _ in range(2)
        )
        if rng.random() < 0.5:
            return Shapes(first)
        relation = pick(rng, tuple(RELATIONS))
        too_wide = relation in ("left", "right") and 3 in (first.count, second.count)
        if (first.form, first.colour) != (second.form, second.colour) and not is_held_out(first, second) and not too_wide:
            return Shapes(first, second, relation)


def plain_shape_picture(rng: np.random.Generator) -> LabelledPicture:
    form, colour = pick(rng, FORMS), pick(rng, tuple(COLOURS))
    column, row = (int(rng.choice(3, p=(0.2, 0.6, 0.2))) for _ in range(2))
    x, y = (_CENTERS[place] + rng.uniform(-8, 8) for place in (column, row))
    most = (min(x, y, SIZE - x, SIZE - y) - 2) / 1.12  # a star reaches out farther than its radius
    canvas = Canvas(SIZE)
    canvas.gradient(0, SIZE, [(255, 255, 255)] * 2)
    shade = OTHER_SHADES[colour][int(rng.integers(len(OTHER_SHADES[colour])))]
    draw_form(canvas, form, x, y, rng.uniform(min(11, most), max(min(most, 54), 11)), shade)
    return LabelledPicture(canvas.pixels(), Shapes(Group(form, colour)), CORNERS[column, row])
