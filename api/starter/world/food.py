"""Food and things on a table."""

from dataclasses import dataclass, replace

import numpy as np

from api.starter.world.canvas import Canvas, Colour, mix, shade
from api.starter.world.words import another, article, dressed, listed, pick

DISHES = ("pizza", "cake", "cup", "apple", "fish")
TOPPINGS = ("pepperoni", "mushrooms", "olives", "basil", "tomatoes")
BASES = ("plate", "board", "table")
TABLES: dict[str, Colour] = {
    "blue": (92, 150, 208),
    "green": (126, 180, 124),
    "pink": (244, 184, 196),
    "yellow": (250, 220, 128),
    "white": (244, 242, 236),
}
VARIANTS: dict[str, dict[str, Colour]] = {
    "cake": {"chocolate": (112, 66, 42), "strawberry": (244, 138, 160), "vanilla": (252, 236, 190)},
    "cup": {"red": (216, 60, 54), "blue": (58, 104, 196), "white": (252, 252, 250)},
    "apple": {"red": (216, 48, 48), "green": (126, 190, 62), "yellow": (246, 208, 66)},
    "fish": {"grilled": (206, 142, 82), "silver": (176, 190, 204)},
    "pizza": {"": (252, 208, 98)},
}


@dataclass(frozen=True)
class Food:
    """A dish of one variant on a base, on a table of one colour; toppings are for pizza alone."""

    dish: str
    variant: str
    base: str
    table: str
    toppings: tuple[str, ...] = ()
    kind: str = "food"


def sample_food(rng: np.random.Generator) -> Food:
    dish = str(rng.choice(DISHES, p=(0.48, 0.13, 0.13, 0.13, 0.13)))
    toppings: tuple[str, ...] = ()
    if dish == "pizza":
        chosen = rng.permutation(TOPPINGS)[: int(rng.integers(0, 4))]
        toppings = tuple(topping for topping in TOPPINGS if topping in chosen)
    base = "plate" if dish == "fish" else pick(rng, BASES)
    return Food(dish, pick(rng, tuple(VARIANTS[dish])), base, pick(rng, tuple(TABLES)), toppings)


def change_food(food: Food, rng: np.random.Generator) -> Food:
    """The same with a topping more or less, in another variant, or on a table of another colour; may be the same."""
    if food.dish == "pizza" and rng.random() < 0.75:
        turned = pick(rng, TOPPINGS)
        toppings = tuple(topping for topping in TOPPINGS if (topping in food.toppings) != (topping == turned))
        return replace(food, toppings=toppings) if len(toppings) < 4 else food
    variants = tuple(VARIANTS[food.dish])
    if len(variants) > 1 and rng.random() < 0.7:
        return replace(food, variant=another(rng, variants, food.variant))
    return replace(food, table=another(rng, tuple(TABLES), food.table))


def draw_food(canvas: Canvas, food: Food, rng: np.random.Generator) -> None:
    table = TABLES[food.table]
    canvas.gradient(0, 128, [mix(table, (255, 255, 255), 0.12), table])
    x, y = 64 + rng.uniform(-4, 4), 64 + rng.uniform(-3, 3)
    flat = food.dish in ("pizza", "fish")
    _draw_base(canvas, food.base, x, y if flat else y + 26, flat)
    with canvas.thing(), canvas.labelled(food.dish):
        _DRAWERS[food.dish](canvas, food, x, y, rng)


def _draw_base(canvas: Canvas, base: str, x: float, y: float, flat: bool) -> None:
    height = 54 if flat else 15
    if base == "plate":
        canvas.ellipse(x, y + 2, 55, height + 1, (188, 194, 204))
        canvas.ellipse(x, y, 55, height, (250, 250, 250))
        canvas.ellipse(x, y, 46, height * 0.82, (232, 236, 240))
    if base == "board":
        top = y - height if flat else y - 8
        canvas.rounded(x - 56, top, 112, height * 2 if flat else 20, 9, (176, 116, 66))
        for line in np.arange(top + 6, top + (height * 2 if flat else 20) - 3, 13):
            canvas.line(((x - 50, line), (x + 50, line)), (154, 98, 52), 1.4)


def _draw_pizza(canvas: Canvas, food: Food, x: float, y: float, rng: np.random.Generator) -> None:
    radius = rng.uniform(42, 45)
    canvas.circle(x, y, radius, (206, 138, 66))
    canvas.circle(x, y, radius * 0.9, (206, 66, 42))
    canvas.circle(x, y, radius * 0.84, VARIANTS["pizza"][""])
    places = _scatter(radius * 0.66, rng)
    for index, topping in enumerate(food.toppings):
        for dx, dy in places[index :: len(food.toppings)]:
            _draw_topping(canvas, topping, x + dx, y + dy, rng)


def _scatter(reach: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Thirteen places on a disc, one in the middle and two rings, turned at random."""
    turn = rng.uniform(0, 2 * np.pi)
    inner = [(reach * 0.5, turn + index * 2 * np.pi / 4) for index in range(4)]
    outer = [(reach, turn + 0.4 + index * 2 * np.pi / 8) for index in range(8)]
    places = [(0.0, 0.0), *((r * np.cos(a), r * np.sin(a)) for r, a in inner + outer)]
    return [places[i] for i in rng.permutation(len(places))]


def _draw_topping(canvas: Canvas, topping: str, x: float, y: float, rng: np.random.Generator) -> None:
    if topping == "pepperoni":
        canvas.circle(x, y, 6.2, (186, 40, 36))
        canvas.circle(x, y, 4.4, (206, 62, 50))
    if topping == "mushrooms":
        canvas.ellipse(x, y - 1.5, 6, 4.4, (236, 222, 200))
        canvas.rect(x - 1.8, y, 3.6, 5.5, (206, 186, 158))
    if topping == "olives":
        canvas.circle(x, y, 4.6, (44, 46, 54))
        canvas.circle(x, y, 1.9, VARIANTS["pizza"][""])
    if topping == "basil":
        with canvas.rotated(rng.uniform(0, 360), x, y):
            canvas.ellipse(x, y, 7, 3.8, (54, 142, 58))
            canvas.line(((x - 6, y), (x + 6, y)), (32, 104, 42), 1)
    if topping == "tomatoes":
        canvas.circle(x, y, 6, (232, 78, 48))
        canvas.circle(x, y, 4, (250, 132, 92))
        canvas.line(((x - 4, y), (x + 4, y)), (232, 78, 48), 1.4)


def _draw_cake(canvas: Canvas, food: Food, x: float, y: float, rng: np.random.Generator) -> None:
    icing = VARIANTS["cake"][food.variant]
    body = mix(icing, (236, 196, 132), 0.55) if food.variant != "chocolate" else (78, 44, 28)
    canvas.rounded(x - 32, y - 12, 64, 38, 4, body)
    canvas.rounded(x - 34, y - 16, 68, 17, 6, icing)
    for index, dx in enumerate((-26, -13, 0, 13, 26)):
        canvas.rounded(x + dx - 5, y - 6, 9, 12 + 5 * (index % 2), 4.5, icing)
        canvas.circle(x + dx, y - 19, 4.6, (206, 30, 46))


def _draw_cup(canvas: Canvas, food: Food, x: float, y: float, rng: np.random.Generator) -> None:
    colour = VARIANTS["cup"][food.variant]
    canvas.arc(x + 25, y + 6, 11, -90, 180, shade(colour, 0.86), 5.5)
    canvas.polygon(((x - 26, y - 14), (x + 26, y - 14), (x + 19, y + 27), (x - 19, y + 27)), colour)
    canvas.ellipse(x, y - 14, 26, 8, shade(colour, 0.86))
    canvas.ellipse(x, y - 13.4, 22, 6, (92, 56, 34))
    for dx in (-9, 0, 9):
        canvas.line(
            ((x + dx, y - 26), (x + dx + 3, y - 33), (x + dx - 2, y - 40), (x + dx + 1, y - 46)), (255, 255, 255), 2.6, 0.75
        )


def _draw_apple(canvas: Canvas, food: Food, x: float, y: float, rng: np.random.Generator) -> None:
    colour = VARIANTS["apple"][food.variant]
    canvas.circle(x - 12, y, 23, colour)
    canvas.circle(x + 12, y, 23, colour)
    canvas.ellipse(x, y + 12, 21, 15, colour)
    canvas.line(((x, y - 18), (x + 3, y - 34)), (98, 66, 40), 4)
    with canvas.rotated(-24, x + 13, y - 31):
        canvas.ellipse(x + 13, y - 31, 11, 5, (74, 150, 62))
    canvas.ellipse(x - 17, y - 8, 5, 8, mix(colour, (255, 255, 255), 0.5))


def _draw_fish(canvas: Canvas, food: Food, x: float, y: float, rng: np.random.Generator) -> None:
    colour = VARIANTS["fish"][food.variant]
    canvas.polygon(((x + 20, y), (x + 40, y - 14), (x + 36, y), (x + 40, y + 14)), shade(colour, 0.86))
    canvas.ellipse(x - 4, y, 31, 14.5, colour)
    canvas.polygon(((x - 6, y - 12), (x + 6, y - 21), (x + 12, y - 11)), shade(colour, 0.86))
    for dx in (-8, 2, 12):
        canvas.line(((x + dx, y - 7), (x + dx - 4, y + 7)), shade(colour, 0.72), 2)
    canvas.circle(x - 24, y - 3, 3, (250, 250, 250))
    canvas.circle(x - 24, y - 3, 1.6, (24, 24, 28))
    canvas.circle(x + 8, y + 30, 7, (250, 224, 84))
    canvas.circle(x - 12, y + 31, 4.5, (86, 160, 74))


_DRAWERS = {"pizza": _draw_pizza, "cake": _draw_cake, "cup": _draw_cup, "apple": _draw_apple, "fish": _draw_fish}


def describe_food(food: Food, rng: np.random.Generator) -> str:
    base = {"plate": ("on a plate", "on a white plate"), "board": ("on a wooden board",), "table": ("",)}[food.base]
    parts = [_name(food, rng)]
    if rng.random() < 0.75:
        parts.append(pick(rng, base))
    if rng.random() < 0.7:
        parts.append(f"{pick(rng, ('on', 'on', 'with'))} a {food.table} {pick(rng, ('table', 'background'))}")
    return dressed(rng, " ".join(part for part in parts if part))


def _name(food: Food, rng: np.random.Generator) -> str:
    if food.dish == "pizza":
        if not food.toppings:
            return pick(rng, ("a pizza", "a cheese pizza", "a plain pizza", "a round pizza"))
        return f"a pizza with {listed([str(t) for t in rng.permutation(food.toppings)])}"
    if food.dish == "cup":
        return pick(rng, (f"a {food.variant} cup", f"a {food.variant} cup of coffee", f"coffee in a {food.variant} cup"))
    if food.dish == "fish":
        return pick(rng, (f"a {food.variant} fish", f"{food.variant} fish with lemon"))
    return pick(rng, (article(f"{food.variant} {food.dish}"),))
