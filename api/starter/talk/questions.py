"""Closed questions: each has one right answer, which follows from the facts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from api.starter import world
from api.starter.talk.labelled_pictures import LabelledPicture
from api.starter.talk.names import (
    BASES,
    COUNTED,
    DISHES,
    IN_THE_SKY,
    LANDS,
    NUMBERS,
    THINGS,
    TIMES,
    WEATHERS,
    dish_name,
    group_name,
    pattern_name,
    sentence,
    the_group,
    trees_can_be_told,
)
from api.starter.world.food import TOPPINGS, Food
from api.starter.world.poster import PATTERNS, Poster
from api.starter.world.scene import OBJECTS, Scene
from api.starter.world.shapes import COLOURS, FORMS, Group, Shapes
from api.starter.world.words import article, listed, pick

TOPICS = ("colour", "count", "where", "yes or no", "time of day", "what")
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_WHERE = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
_SIDES = {"left": "on the left", "right": "on the right", "above": "at the top", "below": "at the bottom"}
KINDS = {"scene": "a landscape", "shapes": "shapes", "food": "food", "poster": "a background"}


@dataclass(frozen=True)
class Question:
    topic: str
    """One of TOPICS."""
    text: str
    answer: str


def closed_questions(sample: LabelledPicture, rng: np.random.Generator) -> list[Question]:
    """All that can be asked of this picture, each in one of its wordings, in a random order."""
    askers: dict[type, Callable[[LabelledPicture, np.random.Generator], Iterator[Question]]] = {
        Scene: _of_scene,
        Shapes: _of_shapes,
        Food: _of_food,
        Poster: _of_poster,
    }
    found = [*askers[type(sample.facts)](sample, rng), *_of_any(sample.facts, rng)]
    return [found[place] for place in rng.permutation(len(found))]


def ask(rng: np.random.Generator, topic: str, answer: str, *wordings: str) -> Question:
    return Question(topic, pick(rng, wordings), sentence(answer))


def yes_no(rng: np.random.Generator, answer: bool, *wordings: str) -> Question:
    return ask(rng, "yes or no", "yes" if answer else "no", *wordings)


def is_there(rng: np.random.Generator, answer: bool, name: str) -> Question:
    be = "Is" if name.split(" ")[0] in ("a", "an", "the") or name in ("confetti", "basil", "pepperoni") else "Are"
    return yes_no(
        rng,
        answer,
        f"{be} there {name}?",
        f"{be} there {name} in the picture?",
        f"{be} there {name} in this image?",
        f"Can you see {name}?",
        f"Do you see {name}?",
        f"Does the picture show {name}?",
    )


def how_many(rng: np.random.Generator, count: int, name: str) -> Question:
    return ask(
        rng,
        "count",
        NUMBERS[count],
        f"How many {name} are there?",
        f"How many {name} are in the picture?",
        f"How many {name} do you see?",
        f"Count the {name}.",
        f"What is the number of {name}?",
    )


def some_of(rng: np.random.Generator, items: list[str], count: int) -> list[str]:
    return [items[place] for place in rng.permutation(len(items))[:count]]


# ---------------------------------------------------------------- any picture


def _of_any(facts: world.Picture, rng: np.random.Generator) -> Iterator[Question]:
    yield ask(
        rng, "what", KINDS[facts.kind], "What kind of picture is this?", "Is this a landscape, food, shapes or a background?"
    )
    other = pick(rng, tuple(KINDS))
    asked = facts.kind if rng.random() < 0.5 else other
    if asked == "food":
        yield yes_no(rng, facts.kind == "food", "Is this food?", "Does the picture show food?")
    if asked == "scene":
        yield yes_no(rng, facts.kind == "scene", "Is this a landscape?", "Does the picture show a landscape?")
    if facts.kind != "food":
        yield is_there(rng, False, article(pick(rng, DISHES)))
    if facts.kind != "scene":
        yield is_there(rng, False, THINGS[pick(rng, OBJECTS)][0])
    if facts.kind != "shapes" and rng.random() < 0.3:
        yield is_there(rng, False, article(f"{pick(rng, tuple(COLOURS))} {pick(rng, ('square', 'triangle'))}"))


# ---------------------------------------------------------------- scenes


def _of_scene(sample: LabelledPicture, rng: np.random.Generator) -> Iterator[Question]:
    scene = sample.facts
    assert isinstance(scene, Scene)
    yield ask(
        rng,
        "time of day",
        scene.time,
        "What time of day is it?",
        "Which time of day is it?",
        "What time of day does the picture show?",
        "What part of the day is this?",
        "When is this?",
    )
    asked = scene.time if rng.random() < 0.5 else pick(rng, tuple(TIMES))
    yield yes_no(rng, asked == scene.time, f"Is it {asked}?", f"Is this {TIMES[asked]}?", f"Does the picture show {asked}?")
    weather = WEATHERS[scene.weather]
    yield ask(rng, "what", weather, "What is the weather like?", "How is the weather?", "What weather is it?")
    asked = scene.weather if rng.random() < 0.5 else pick(rng, ("rain", "snow", "fog"))
    if asked in ("rain", "snow"):
        yield yes_no(rng, asked == scene.weather, f"Is it {asked}ing?", f"Does it {asked}?")
    if asked == "fog":
        yield yes_no(rng, asked == scene.weather, "Is it foggy?", "Is there fog?")
    yield ask(
        rng,
        "what",
        LANDS[scene.landform],
        "What kind of landscape is this?",
        "What landscape is this?",
        "What place is this?",
        "Where is this?",
        "What landscape does the picture show?",
    )
    asked = scene.landform if rng.random() < 0.5 else pick(rng, tuple(LANDS))
    land = LANDS[asked]
    yield yes_no(
        rng, asked == scene.landform, f"Is this {land}?", f"Does the picture show {land}?", f"Is it a picture of {land}?"
    )
    yield from _of_things(scene, rng)
    if (sky := sky_colour(scene)) is not None:
        yield ask(rng, "colour", sky, "What colour is the sky?", "What color is the sky?", "Which colour does the sky have?")


def sky_colour(scene: Scene) -> str | None:
    """None where a style has changed the colours."""
    if scene.style != "plain":
        return None
    if scene.weather == "rain" and scene.time in ("day", "sunrise"):
        return "grey"
    return {"day": "blue", "night": "dark blue", "sunset": "orange", "sunrise": "pink"}[scene.time]


def things_that_can_be_told(scene: Scene) -> list[str]:
    hidden = () if trees_can_be_told(scene.landform) else ("pines", "trees", "palms")
    return [thing for thing in OBJECTS if thing not in hidden]


def _of_things(scene: Scene, rng: np.random.Generator) -> Iterator[Question]:
    known = things_that_can_be_told(scene)
    there = [thing for thing in known if thing in scene.objects]
    absent = [thing for thing in known if thing not in scene.objects]
    for thing in (*some_of(rng, there, 2), *some_of(rng, absent, 2)):
        yield is_there(rng, thing in there, pick(rng, THINGS[thing]))
    for thing in (*some_of(rng, [t for t in there if t in COUNTED], 1), *some_of(rng, [t for t in absent if t in COUNTED], 1)):
        yield how_many(rng, int(thing in there), COUNTED[thing])
    for thing in some_of(rng, there, 1):
        place = "in the sky" if thing in IN_THE_SKY else "on the water" if thing == "boat" else "on the ground"
        name = THINGS[thing][0]
        be = "is" if name.startswith(("a ", "the ")) else "are"
        name = name.removeprefix("a ").removeprefix("the ")
        yield ask(rng, "where", place, f"Where {be} the {name}?", f"In what part of the picture {be} the {name}?")
    names = [THINGS[thing][0] for thing in there]
    yield ask(
        rng,
        "what",
        listed(names) if names else "nothing",
        "Which things are in the picture?",
        "What things are there?",
        "What else is in the landscape?",
        "Name the things in the picture.",
    )


# ---------------------------------------------------------------- shapes


def _of_shapes(sample: LabelledPicture, rng: np.random.Generator) -> Iterator[Question]:
    shapes = sample.facts
    assert isinstance(shapes, Shapes)
    groups = [group for group in (shapes.first, shapes.second) if group]
    for group in groups:
        yield from _of_group(group, groups, rng)
    total = sum(group.count for group in groups)
    yield how_many(rng, total, "shapes")
    absent = [form for form in FORMS if form not in {group.form for group in groups}]
    missing = pick(rng, absent)
    yield how_many(rng, 0, f"{missing}s")
    yield is_there(rng, False, f"a {missing}")
    yield ask(rng, "colour", "white", "What colour is the background?", "What color is the background?")
    if shapes.second is not None:
        yield from _of_relation(shapes, rng)
    elif shapes.first.count == 1:
        name = shapes.first.form
        yield ask(
            rng, "where", sample.place or "in the middle", f"Where is the {name}?", f"Where in the picture is the {name}?"
        )


def _of_group(group: Group, groups: list[Group], rng: np.random.Generator) -> Iterator[Question]:
    others = [other for other in groups if other is not group]
    many = group.count > 1
    form = f"{group.form}s" if many else group.form
    if all(other.form != group.form for other in others):
        be, do, have = ("are", "do", "have") if many else ("is", "does", "have")
        yield ask(
            rng,
            "colour",
            group.colour,
            f"What colour {be} the {form}?",
            f"What color {be} the {form}?",
            f"Which colour {do} the {form} {have}?",
            f"What is the colour of the {form}?",
            f"What is the color of the {form}?",
        )
        yield how_many(rng, group.count, f"{group.form}s")
        wrong = pick(rng, tuple(colour for colour in COLOURS if colour != group.colour))
        asked = group.colour if rng.random() < 0.5 else wrong
        be = "Are" if many else "Is"
        yield yes_no(rng, asked == group.colour, f"{be} the {form} {asked}?")
    if all(other.colour != group.colour for other in others):
        yield how_many(rng, group.count, f"{group.colour} shapes")
        answer = f"{NUMBERS[group.count]} {form}" if many else f"a {form}"
        yield ask(rng, "what", answer, f"What is {group.colour}?", f"Which shape is {group.colour}?")
    if not others:
        answer = form if many else f"a {form}"
        wordings = (
            ("What shapes are these?", "Which shapes are these?") if many else ("What shape is this?", "Which shape is this?")
        )
        yield ask(rng, "what", answer, *wordings, "What shape do you see?", "What shape is in the picture?")
        yield ask(
            rng,
            "colour",
            group.colour,
            "What colour is it?",
            "What color is it?",
            "What colour is the shape?",
            "Which colour is it?",
        )
    name = f"{group.colour} {group.form}"
    yield is_there(rng, True, group_name(Group(group.form, group.colour)))
    wrong_colour = pick(rng, tuple(colour for colour in COLOURS if colour not in {one.colour for one in groups}))
    yield is_there(rng, False, group_name(Group(group.form, wrong_colour)))
    yield how_many(rng, group.count, f"{name}s")


def _of_relation(shapes: Shapes, rng: np.random.Generator) -> Iterator[Question]:
    first, second, relation = shapes.first, shapes.second, shapes.relation
    assert second is not None
    if rng.random() < 0.5:
        first, second, relation = second, first, _OPPOSITE[relation]
    be = "are" if first.count > 1 else "is"
    yield ask(
        rng,
        "where",
        f"{_WHERE[relation]} {the_group(second)}",
        f"Where {be} {the_group(first)}?",
        f"Where do you see {the_group(first)}?",
    )
    yield ask(
        rng,
        "where",
        group_name(second),
        f"What is {_WHERE[_OPPOSITE[relation]]} {the_group(first)}?",
        f"Which shape is {_WHERE[_OPPOSITE[relation]]} {the_group(first)}?",
    )
    yield ask(rng, "where", group_name(first), f"What is {_SIDES[relation]}?", f"Which shape is {_SIDES[relation]}?")
    asked = pick(rng, (relation, relation, _OPPOSITE[relation], *_WHERE))
    text = f"{be.capitalize()} {the_group(first)} {_WHERE[asked]} {the_group(second)}?"
    yield yes_no(rng, asked == relation, text)


# ---------------------------------------------------------------- food and backgrounds


def _of_food(sample: LabelledPicture, rng: np.random.Generator) -> Iterator[Question]:
    food = sample.facts
    assert isinstance(food, Food)
    yield ask(
        rng,
        "what",
        dish_name(food.dish, food.variant),
        "What food is this?",
        "What is on the table?",
    )
    asked = food.dish if rng.random() < 0.5 else pick(rng, DISHES)
    one = article(asked)
    yield yes_no(rng, asked == food.dish, f"Is this {one}?", f"Is it {one}?", f"Do you see {one}?", f"Is there {one}?")
    plural = {"fish": "fish"}.get(asked, f"{asked}s")
    yield how_many(rng, int(asked == food.dish), plural)
    yield ask(
        rng, "colour", food.table, "What colour is the table?", "What color is the table?", "What colour is the background?"
    )
    on = BASES[food.base]
    what = "it" if rng.random() < 0.4 else f"the {food.dish}"
    yield ask(rng, "where", f"on {on}", f"Where is {what}?", f"What is {what} on?", f"On what is {what}?")
    if food.dish in ("apple", "cup"):
        yield ask(rng, "colour", food.variant, f"What colour is the {food.dish}?", f"What color is the {food.dish}?")
    if food.dish == "cake":
        yield ask(rng, "what", food.variant, "What kind of cake is it?", "What flavour is the cake?", "Which cake is this?")
    if food.dish == "pizza":
        names = [topping for topping in TOPPINGS if topping in food.toppings]
        answer = listed(names) if names else "only cheese"
        yield ask(
            rng, "what", answer, "What is on the pizza?", "Which toppings does the pizza have?", "What toppings are there?"
        )
        for topping in some_of(rng, list(TOPPINGS), 2):
            be = "Is" if topping in ("basil", "pepperoni") else "Are"
            yield yes_no(rng, topping in names, f"{be} there {topping} on the pizza?", f"Does the pizza have {topping}?")


def _of_poster(sample: LabelledPicture, rng: np.random.Generator) -> Iterator[Question]:
    poster = sample.facts
    assert isinstance(poster, Poster)
    if poster.top == poster.bottom:
        yield ask(rng, "colour", poster.top, "What colour is the background?", "What color is it?", "What colour is this?")
    else:
        both = f"{poster.top} and {poster.bottom}"
        yield ask(
            rng, "colour", both, "What colours are there?", "Which colours does the background have?", "What colors do you see?"
        )
        yield ask(rng, "colour", poster.top, "What colour is at the top?", "What color is the top?")
        yield ask(rng, "colour", poster.bottom, "What colour is at the bottom?", "What color is the bottom?")
    yield ask(
        rng,
        "what",
        pattern_name(poster.pattern),
        "What pattern is it?",
        "Which pattern does the background have?",
        "What pattern do you see?",
    )
    asked = poster.pattern if rng.random() < 0.5 else pick(rng, PATTERNS)
    if asked not in ("plain", "stars"):
        yield is_there(rng, asked == poster.pattern, pattern_name(asked))
