"""Descriptions: a picture in one sentence, in one wording for the same facts."""

import numpy as np

from api.starter import world
from api.starter.talk.names import BASES, IN_WEATHER, LANDS, THINGS, TIMES, dish_name, group_name, pattern_name, sentence
from api.starter.talk.questions import things_that_can_be_told
from api.starter.world.food import TOPPINGS, Food
from api.starter.world.poster import Poster
from api.starter.world.scene import OBJECTS, Scene
from api.starter.world.shapes import Shapes
from api.starter.world.words import article, listed, pick

NEUTRAL = (
    "What is in this image?",
    "What is in this picture?",
    "What's in this image?",
    "What’s in this image?",
    "What is in the image?",
    "Describe this image.",
    "Describe the picture.",
    "Describe this picture in one sentence.",
    "What do you see?",
    "What can you see in this picture?",
    "What does this picture show?",
    "What does the image show?",
    "What is shown here?",
    "Tell me about this picture.",
    "Caption this image.",
    "Write a caption for this picture.",
    "Write an alt text for this image.",
    "What is this?",
    "Can you describe this image?",
    "Please describe the image.",
    "Describe this image in detail.",
    "Give a short description of the image.",
)
_RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


def neutral_question(rng: np.random.Generator) -> str:
    text = pick(rng, NEUTRAL)
    return text.lower().rstrip("?.") if rng.random() < 0.1 else text


def describe(facts: world.Picture) -> str:
    """'A lake at sunset, with a sailing boat and the sun.' Names every thing that can be told."""
    if isinstance(facts, Scene):
        return sentence(_scene(facts))
    if isinstance(facts, Shapes):
        return sentence(_shapes(facts))
    if isinstance(facts, Food):
        return sentence(_food(facts))
    return sentence(_poster(facts))


def main_objects(facts: world.Picture) -> list[str]:
    """What a description must name to be right about what the picture is of."""
    if isinstance(facts, Scene):
        return [LANDS[facts.landform].split(" ")[-1], facts.time]
    if isinstance(facts, Shapes):
        return [f"{group.colour} {group.form}" for group in (facts.first, facts.second) if group]
    return [facts.dish] if isinstance(facts, Food) else [facts.top, facts.bottom]


def _scene(scene: Scene) -> str:
    names = [THINGS[thing][0] for thing in OBJECTS if thing in scene.objects and thing in things_that_can_be_told(scene)]
    things = f", with {listed(names)}" if names else ""
    return f"{LANDS[scene.landform]} {TIMES[scene.time]}{IN_WEATHER[scene.weather]}{things}"


def _shapes(shapes: Shapes) -> str:
    if shapes.second is None:
        return f"{group_name(shapes.first)} on a white background"
    first, second, relation = shapes.first, shapes.second, shapes.relation
    if relation in ("right", "below"):  # read from left to right and from top to bottom
        first, second, relation = second, first, {"right": "left", "below": "above"}[relation]
    return f"{group_name(first)} {_RELATIONS[relation]} {group_name(second)}"


def _food(food: Food) -> str:
    name = dish_name(food.dish, food.variant)
    toppings = [topping for topping in TOPPINGS if topping in food.toppings]
    with_toppings = f" with {listed(toppings)}" if toppings else ""
    table = article(f"{food.table} table")
    where = f"on {table}" if food.base == "table" else f"on {BASES[food.base]} on {table}"
    return f"{name}{with_toppings} {where}"


def _poster(poster: Poster) -> str:
    name = f"{poster.top} background" if poster.top == poster.bottom else f"{poster.top} to {poster.bottom} gradient"
    pattern = "" if poster.pattern == "plain" else f" with {pattern_name(poster.pattern)}"
    return article(name) + pattern
