"""A picture's facts as the answers to a fixed list of questions, for the judge that looks at pictures."""

from api.starter.world.food import DISHES, TABLES, TOPPINGS
from api.starter.world.food import Food as FoodPicture
from api.starter.world.landforms import LANDFORMS
from api.starter.world.poster import PATTERNS, TONES, Poster
from api.starter.world.scene import OBJECTS, TIMES, WEATHERS, Scene
from api.starter.world.shapes import COLOURS, FORMS, Group, Shapes

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("scene", "shapes", "food", "poster"),
    "landform": tuple(LANDFORMS),
    "time": TIMES,
    "weather": WEATHERS,
    "arrangement": ("one", "beside", "stacked"),
    "form_a": FORMS,
    "colour_a": tuple(COLOURS),
    "count_a": ("1", "2", "3"),
    "form_b": FORMS,
    "colour_b": tuple(COLOURS),
    "count_b": ("1", "2", "3"),
    "dish": DISHES,
    "table": tuple(TABLES),
    "top": tuple(TONES),
    "bottom": tuple(TONES),
    "pattern": PATTERNS,
}
"""Questions with one answer out of several. `a` is the left or upper group of shapes, `b` the other one."""
THINGS = (*OBJECTS, *TOPPINGS)
"""Questions of yes or no: is it in the picture?"""


def choices_of(picture: Scene | Shapes | FoodPicture | Poster) -> dict[str, str]:
    """The answers to those of CHOICES that make sense for this kind."""
    answers = {"kind": picture.kind}
    if isinstance(picture, Shapes):
        return answers | _arrangement(picture)
    names = {"scene": ("landform", "time", "weather"), "food": ("dish", "table"), "poster": ("top", "bottom", "pattern")}
    return answers | {name: getattr(picture, name) for name in names[picture.kind]}


def _arrangement(shapes: Shapes) -> dict[str, str]:
    if shapes.second is None:
        return {"arrangement": "one"} | _group("a", shapes.first)
    first, second = shapes.first, shapes.second
    if shapes.relation in ("right", "below"):
        first, second = second, first
    name = "beside" if shapes.relation in ("left", "right") else "stacked"
    return {"arrangement": name} | _group("a", first) | _group("b", second)


def _group(place: str, group: Group) -> dict[str, str]:
    return {f"form_{place}": group.form, f"colour_{place}": group.colour, f"count_{place}": str(group.count)}


def things_of(picture: Scene | Shapes | FoodPicture | Poster) -> dict[str, bool]:
    """Which of THINGS are there, for those that the kind of picture can have."""
    if isinstance(picture, Scene):
        return {thing: thing in picture.objects for thing in OBJECTS}
    if isinstance(picture, FoodPicture) and picture.dish == "pizza":
        return {topping: topping in picture.toppings for topping in TOPPINGS}
    return {}
