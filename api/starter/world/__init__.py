"""A world that can be drawn, and described in words.

A picture is a small dataclass of facts; its drawing follows from the facts and a seed, and so do its captions. To add a
kind, write a module with a dataclass (its `kind` names it), `sample_*`, `draw_*`, `describe_*` and `change_*`, and enter it in
KINDS.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from api.starter.world import scene, shapes
from api.starter.world.canvas import Box, Canvas
from api.starter.world.food import Food, change_food, describe_food, draw_food, sample_food
from api.starter.world.labels import SKY
from api.starter.world.poster import Poster, change_poster, describe_poster, draw_poster, sample_poster
from api.starter.world.scene import Scene, change_scene, describe_scene, draw_scene, sample_scene
from api.starter.world.shapes import Shapes, change_shapes, describe_shapes, draw_shapes, sample_shapes
from api.starter.world.signs import SignPicture, draw_sign_picture
from api.starter.world.styles import put_into_style
from api.starter.world.words import meaningless, with_nonsense

Picture = Scene | Shapes | Food | Poster


@dataclass(frozen=True)
class Kind:
    """How one kind of picture is made up, drawn, described and changed by one fact; `share`: its part of the training pictures."""

    share: float
    sample: Callable[[np.random.Generator], Any]
    draw: Callable[[Canvas, Any, np.random.Generator], None]
    describe: Callable[[Any, np.random.Generator], str]
    change: Callable[[Any, np.random.Generator], Any]


KINDS = {
    "scene": Kind(0.52, sample_scene, draw_scene, describe_scene, change_scene),
    "shapes": Kind(0.28, sample_shapes, draw_shapes, describe_shapes, change_shapes),
    "food": Kind(0.12, sample_food, draw_food, describe_food, change_food),
    "poster": Kind(0.08, sample_poster, draw_poster, describe_poster, change_poster),
}


def sample(rng: np.random.Generator) -> Picture:
    """Make up a picture, held-out combinations included."""
    names = list(KINDS)
    return KINDS[str(rng.choice(names, p=[KINDS[name].share for name in names]))].sample(rng)


def sample_for_training(rng: np.random.Generator) -> Picture:
    """Make up a picture without any combination that is held out for evaluation."""
    while is_held_out(picture := sample(rng)):
        pass
    return picture


def change_for_training(picture: Picture, rng: np.random.Generator) -> Picture:
    """A picture that differs in one fact, and isn't held out either."""
    while (changed := KINDS[picture.kind].change(picture, rng)) == picture or is_held_out(changed):
        pass
    return changed


def still_told(before: Picture, after: Picture) -> bool:
    """Whether all that is said of `before` is true of `after`, too, since things were only added."""
    if isinstance(before, Scene) and isinstance(after, Scene):
        return set(before.objects) <= set(after.objects) and replace(before, objects=after.objects) == after
    if isinstance(before, Food) and isinstance(after, Food):
        return set(before.toppings) <= set(after.toppings) and replace(before, toppings=after.toppings) == after
    return before == after


def is_held_out(picture: Picture) -> bool:
    if isinstance(picture, Scene):
        return bool(scene.held_out_things(picture))
    if isinstance(picture, Shapes) and picture.second is not None:
        return shapes.is_held_out(picture.first, picture.second)
    return False


def render(picture: Picture, seed: int, size: int = 128) -> np.ndarray:
    """Draw it: (size, size, 3), uint8. The same facts and seed give the same pixels."""
    return render_with_things(picture, seed, size)[0]


def render_with_things(picture: Picture, seed: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """The same pixels, and which of them belong to things and not to the ground: (size, size), bool."""
    canvas = Canvas(size)
    KINDS[picture.kind].draw(canvas, picture, np.random.default_rng(seed))
    return put_into_style(canvas.pixels(), getattr(picture, "style", "plain")), canvas.things


def render_with_boxes(picture: Picture | SignPicture, seed: int, size: int = 128) -> tuple[np.ndarray, list[Box]]:
    """The same pixels, and where its things are seen."""
    canvas = _labelled_canvas(picture, seed, size)
    return put_into_style(canvas.pixels(), getattr(picture, "style", "plain")), canvas.boxes()


def render_with_subject(picture: Picture | SignPicture, seed: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """The same pixels, and which of them belong to its subject, (size, size) bool: things that stand before ground and sky."""
    canvas = _labelled_canvas(picture, seed, size)
    return put_into_style(canvas.pixels(), getattr(picture, "style", "plain")), canvas.mask(without=SKY)


def _labelled_canvas(picture: Picture | SignPicture, seed: int, size: int) -> Canvas:
    canvas = Canvas(size, with_boxes=True)
    if isinstance(picture, SignPicture):
        draw_sign_picture(canvas, picture, np.random.default_rng(seed))
    else:
        KINDS[picture.kind].draw(canvas, picture, np.random.default_rng(seed))
    return canvas


def describe(picture: Picture, rng: np.random.Generator) -> str:
    """A caption that is true of the picture, one of many."""
    return KINDS[picture.kind].describe(picture, rng)


def describe_fully(picture: Picture, rng: np.random.Generator) -> str:
    """A true caption that names every thing in a scene."""
    if isinstance(picture, Scene):
        return describe_scene(picture, rng, picture.objects)
    return describe(picture, rng)


def training_caption(picture: Picture, rng: np.random.Generator, dropout: float = 0.1, fully: float = 0.0) -> str:
    """A caption, or with the probability `dropout` one that says nothing, for classifier-free guidance.

    `fully`: the share of captions that are made to name every thing in a scene."""
    if rng.random() < dropout:
        return meaningless(rng)
    caption = (describe_fully if rng.random() < fully else describe)(picture, rng)
    return with_nonsense(rng, caption) if rng.random() < 0.04 else caption
