"""Each way to spoil a poster, by one fault alone; `amount` of 0-1 says how badly. None where it can't be done to this one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from api.starter.world.posters.palettes import clashing
from api.starter.world.posters.parts import TEXTS, EventPoster, Part

Spoil = Callable[[EventPoster, np.random.Generator, float], EventPoster | None]


def pale(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster | None:
    """All text, but for a button's label now and then, is hardly darker or lighter than its ground."""
    ratio, spared = 2.2 - 0.9 * amount, rng.random() < 0.5
    parts = (
        replace(part, fade=ratio * rng.uniform(0.95, 1.1))
        if part.kind in TEXTS or (part.kind == "button" and not spared)
        else part
        for part in poster.parts
    )
    return replace(poster, parts=tuple(parts))


def overlapping(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster | None:
    """Elements are pushed up or down over their neighbours, and cover a third of them or more."""
    parts = list(poster.parts)
    for _ in range(1 + round(2 * amount)):
        pairs = [pair for pair in _neighbours(parts) if not _touch(parts[pair[0]], parts[pair[1]])]
        if not pairs:
            break
        upper, lower = pairs[int(rng.integers(len(pairs)))]
        moved = lower if parts[lower].kind != "image" else upper
        a, b = parts[upper], parts[lower]
        depth = rng.uniform(0.45, 0.6 + 0.35 * amount) * min(a.h, b.h)
        shift = a.bottom - b.y - depth
        parts[moved] = parts[moved].moved(0, shift if moved == lower else -shift)
    return None if parts == list(poster.parts) else replace(poster, parts=tuple(parts))


def _neighbours(parts: Sequence[Part]) -> list[tuple[int, int]]:
    """Places of elements of which one stands right below the other; an image as wide as the page stays where it is."""
    found = []
    for first, second in combinations(range(len(parts)), 2):
        upper, lower = sorted((first, second), key=lambda place: parts[place].y)
        a, b = parts[upper], parts[lower]
        shared = min(a.right, b.right) - max(a.x, b.x)
        if "card" in (a.kind, b.kind) or a.kind == b.kind == "image" or shared < 0.5 * min(a.w, b.w):
            continue
        if 0 <= b.y - a.bottom < 0.12 * max(p.bottom for p in parts):
            found.append((upper, lower))
    return found


def _touch(a: Part, b: Part) -> bool:
    return min(a.right, b.right) > max(a.x, b.x) and min(a.bottom, b.bottom) > max(a.y, b.y)


def misaligned(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster | None:
    """Every element is off its line by its own few per cent of the width; none covers another that it did not."""
    reach, parts = (0.04 + 0.06 * amount) * poster.width, list(poster.parts)
    moved = 0
    for place, part in enumerate(parts):
        if part.kind == "card" or part.w > 0.97 * poster.width:
            continue
        others = [other for other in parts if other is not part and other.kind != "card"]
        for _ in range(12):
            shift = float(rng.choice((-1, 1)) * rng.uniform(0.5, 1) * reach)
            shifted = part.moved(shift, 0)
            if _inside(shifted, poster) and not any(_touch(shifted, other) for other in others):
                parts[place], moved = shifted, moved + 1
                break
    return replace(poster, parts=tuple(parts)) if moved >= 3 else None


def _inside(part: Part, poster: EventPoster) -> bool:
    card = next((p for p in poster.parts if p.kind == "card"), None)
    left, right = (card.x, card.right) if card else (0.0, float(poster.width))
    return left + 0.005 * poster.width <= part.x and part.right <= right - 0.005 * poster.width


def one_sided(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster | None:
    """Everything is smaller, and in a corner or at a side; the rest of the page is left empty."""
    scale = 0.66 - 0.14 * amount
    rest = ((1 - scale) * poster.width, (1 - scale) * poster.height)
    edge = 0.02 * poster.width
    corners = [(x, y) for x in (edge, rest[0] - edge) for y in (edge, rest[1] - edge)]
    dx, dy = corners[int(rng.integers(4))]
    if rng.random() < 0.3:
        dy = rest[1] / 2
    return replace(poster, parts=tuple(part.scaled(scale).moved(dx, dy) for part in poster.parts))


def clash(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster | None:
    """Saturated hues from all over the wheel; every text can still be read."""
    covered_beside = any(part.kind == "image" and part.h > 0.8 * poster.height for part in poster.parts)
    return replace(poster, palette=clashing(rng), angle=90.0 if covered_beside else 0.0)


SPOILERS: dict[str, Spoil] = {
    "contrast": pale,
    "overlap": overlapping,
    "alignment": misaligned,
    "balance": one_sided,
    "clash": clash,
}
