"""JSON answers: a picture's facts under the keys that the question names, in its order."""

import json
from typing import Any

import numpy as np

from api.starter.talk.labelled_pictures import LabelledPicture
from api.starter.talk.names import LANDS, THINGS, WEATHERS, pattern_name
from api.starter.talk.questions import KINDS, closed_questions, things_that_can_be_told
from api.starter.talk.sentences import describe
from api.starter.world.food import TOPPINGS, Food
from api.starter.world.poster import Poster
from api.starter.world.scene import Scene
from api.starter.world.shapes import Group, Shapes
from api.starter.world.words import listed, pick

_LAYOUTS: tuple[dict[str, Any], ...] = ({}, {}, {}, {"separators": (",", ":")}, {"indent": 2})
_TYPES = {str: "string", int: "integer", bool: "boolean", list: "array"}
_EMPTY = {str: "", int: 0, bool: False, list: []}


def json_exchange(sample: LabelledPicture, rng: np.random.Generator) -> tuple[str, str]:
    """A question that asks for JSON, and the answer."""
    if rng.random() < 0.15:
        asked = closed_questions(sample, rng)[0]
        key = pick(rng, ("answer", "answer", "result", "value"))
        wording = pick(
            rng, (f"Answer in JSON with the key {key}", f"Reply as JSON with the key {key}", f'Answer as {{"{key}": ...}}')
        )
        return f"{asked.text} {wording}.", written({key: asked.answer.rstrip(".").lower()}, rng)
    fields = _fields(sample, rng)
    chosen = [fields[place] for place in rng.permutation(len(fields))[: int(rng.integers(1, 5))]]
    value = {pick(rng, names): content for names, content in chosen}
    return request_for(value, rng), written(value, rng)


def written(value: dict[str, Any], rng: np.random.Generator) -> str:
    return json.dumps(value, **_LAYOUTS[int(rng.integers(len(_LAYOUTS)))])


def request_for(value: dict[str, Any], rng: np.random.Generator) -> str:
    keys = list(value)
    described = pick(
        rng,
        (
            f"Answer in JSON with the key{'s' if len(keys) > 1 else ''} {listed(keys)}.",
            f"Describe the picture as JSON with {listed(keys)}.",
            f"Return a JSON object with: {', '.join(keys)}.",
            f"Give me {listed(keys)} as JSON.",
            f"Reply with JSON only. Keys: {', '.join(keys)}.",
            f"Describe this picture as JSON: {', '.join(keys)}.",
            "Describe this picture as JSON.",
            f"Fill in this JSON: {json.dumps({key: _EMPTY[type(content)] for key, content in value.items()})}",
            f"Describe the image as {json.dumps(dict.fromkeys(keys, '...'))}",
        ),
    )
    return f"Answer in JSON that fits this schema: {json.dumps(schema_of(value))}" if rng.random() < 0.06 else described


def schema_of(value: dict[str, Any]) -> dict[str, Any]:
    properties = {key: {"type": _TYPES[type(content)]} for key, content in value.items()}
    return {"type": "object", "properties": properties, "required": list(value)}


Field = tuple[tuple[str, ...], Any]
"""Names that mean the same, and the value."""


def _fields(sample: LabelledPicture, rng: np.random.Generator) -> list[Field]:
    facts = sample.facts
    common: list[Field] = [
        (("kind", "type", "category"), KINDS[facts.kind].removeprefix("a ")),
        (("description", "caption", "text", "summary", "title", "alt"), describe(facts)),
    ]
    if isinstance(facts, Scene):
        return common + _of_scene(facts, rng)
    if isinstance(facts, Shapes):
        return common + _of_shapes(facts, rng)
    return common + (_of_food(facts) if isinstance(facts, Food) else _of_poster(facts))


def bare(name: str) -> str:
    return name.removeprefix("a ").removeprefix("the ")


def _of_scene(scene: Scene, rng: np.random.Generator) -> list[Field]:
    known = things_that_can_be_told(scene)
    thing = pick(rng, known)
    return [
        (("landscape", "place", "scene", "landform", "location"), bare(LANDS[scene.landform])),
        (("time", "time_of_day", "when", "daytime"), scene.time),
        (("weather",), WEATHERS[scene.weather]),
        (("objects", "things", "items", "tags"), [bare(THINGS[one][0]) for one in known if one in scene.objects]),
        ((f"has_{thing}", f"{thing}_visible"), thing in scene.objects),
        (("is_night", "night"), scene.time == "night"),
    ]


def _of_shapes(shapes: Shapes, rng: np.random.Generator) -> list[Field]:
    ground: Field = (("background", "background_color", "background_colour"), "white")
    if shapes.second is None:
        return [
            (("shape", "form", "object", "name"), shapes.first.form),
            (("shape", "form", "object", "name"), shapes.first.form),
            (("colour", "color"), shapes.first.colour),
            (("colour", "color"), shapes.first.colour),
            (("count", "number", "quantity"), shapes.first.count),
            ground,
        ]
    colour, count = pick(rng, ("colour", "color")), rng.random() < 0.5
    groups = [shapes.first, shapes.second]
    if shapes.relation in ("right", "below"):
        groups.reverse()

    def entry(group: Group) -> dict[str, Any]:
        return {"shape": group.form, colour: group.colour} | ({"count": group.count} if count else {})

    return [
        (("shapes", "objects", "items"), [entry(group) for group in groups]),
        (("colours", "colors"), [group.colour for group in groups]),
        (("count", "total", "number"), sum(group.count for group in groups)),
        ground,
    ]


def _of_food(food: Food) -> list[Field]:
    fields: list[Field] = [
        (("food", "dish", "object", "name"), food.dish),
        (("table", "table_colour", "table_color"), food.table),
        (("base", "on"), food.base),
        (("is_pizza", "has_pizza"), food.dish == "pizza"),
    ]
    if food.dish == "pizza":
        return [*fields, (("toppings", "ingredients"), [topping for topping in TOPPINGS if topping in food.toppings])]
    return [*fields, (("variant", "sort"), food.variant)]


def _of_poster(poster: Poster) -> list[Field]:
    colours = [poster.top] if poster.top == poster.bottom else [poster.top, poster.bottom]
    return [
        (("colours", "colors"), colours),
        (("colour", "color", "main_color"), poster.top),
        (("pattern",), pattern_name(poster.pattern)),
    ]
