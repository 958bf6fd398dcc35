"""The words in which answers name what is in a picture: one for each thing, so that an answer is right or wrong."""

from api.starter.world.scene import OBJECTS
from api.starter.world.shapes import Group
from api.starter.world.words import article

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
LANDS = {
    "lake": "a lake",
    "sea": "the sea",
    "mountains": "mountains",
    "hills": "hills",
    "forest": "a forest",
    "desert": "a desert",
    "meadow": "a meadow",
    "city": "a city",
    "snow": "a snowy plain",
}
TIMES = {"sunrise": "at sunrise", "day": "by day", "sunset": "at sunset", "night": "at night"}
WEATHERS = {"clear": "clear", "clouds": "cloudy", "rain": "rain", "snow": "snow", "fog": "fog"}
IN_WEATHER = {"clear": "", "clouds": " with clouds", "rain": " in the rain", "snow": " in falling snow", "fog": " in fog"}
THINGS = {
    "sun": ("the sun", "a sun"),
    "moon": ("the moon", "a moon"),
    "stars": ("stars",),
    "birds": ("birds",),
    "balloon": ("a hot-air balloon", "a balloon", "a hot air balloon"),
    "rainbow": ("a rainbow",),
    "boat": ("a sailing boat", "a boat", "a sailboat"),
    "pines": ("pine trees", "pines"),
    "trees": ("round trees",),
    "palms": ("palm trees", "palms"),
    "cacti": ("cacti",),
    "house": ("a house",),
}
"""The first name is the one that answers use; questions use all."""
COUNTED = {"sun": "suns", "moon": "moons", "balloon": "balloons", "rainbow": "rainbows", "boat": "boats", "house": "houses"}
"""Things of which there is one or none."""
IN_THE_SKY = ("sun", "moon", "stars", "birds", "balloon", "rainbow")
BASES = {"plate": "a plate", "board": "a wooden board", "table": "the table"}
DISHES = ("pizza", "cake", "cup", "apple", "fish")
PATTERNS = {"plain": "no pattern", "bokeh": "soft lights"}
assert set(THINGS) == set(OBJECTS)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def group_name(group: Group) -> str:
    """'a red circle', 'two blue squares'."""
    name = f"{group.colour} {group.form}"
    return article(name) if group.count == 1 else f"{NUMBERS[group.count]} {name}s"


def the_group(group: Group) -> str:
    return f"the {group.colour} {group.form}{'s' if group.count > 1 else ''}"


def dish_name(dish: str, variant: str) -> str:
    if dish == "fish":
        return article(f"{variant} fish")
    return article(f"{variant} {dish}".strip())


def pattern_name(pattern: str) -> str:
    return PATTERNS.get(pattern, pattern)


def trees_can_be_told(landform: str) -> bool:
    """A forest is drawn with trees of its own."""
    return landform != "forest"
