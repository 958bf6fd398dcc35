"""The layouts of posters: columns on a grid, with one scale of type sizes. Each gives None where its text does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from api.starter.world.posters import words
from api.starter.world.posters.parts import Part, Region, Type, fit, height_of, picture, place, press, write


@dataclass(frozen=True)
class Sheet:
    """The page's frame and what is said on it. `align` of its text: left or center."""

    width: int
    height: int
    margin: float
    type: Type
    align: str
    title: str
    subtitle: str
    date: str
    texts: tuple[str, ...]
    button: str
    seed: int

    @property
    def inner(self) -> Region:
        return Region(self.margin, self.margin, self.width - 2 * self.margin, self.height - 2 * self.margin)

    def head(self, width: float, on: str = "ground", *, subtitle: bool = True) -> list[Part]:
        """Date, title, subtitle."""
        made = [
            write("date", self.date, self.type.small, width, align=self.align, role="accent", on=on),
            write("title", self.title, self.type.title, width, align=self.align, on=on),
        ]
        second = write("subtitle", self.subtitle, self.type.subtitle, width, align=self.align, role="muted", on=on)
        return [*made, second] if subtitle else made

    def body(self, width: float, place: int = 0, on: str = "ground") -> Part:
        return write("text", self.texts[place], self.type.body, width, align=self.align, on=on)

    def call(self, width: float, on: str = "ground") -> Part:
        return press(self.button, self.type.body, width, align=self.align, on=on)


PlacedParts = list[Part] | None
Layout = Callable[[Sheet, np.random.Generator], PlacedParts]


def stacked(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """One column over the page."""
    room = sheet.inner
    wide = room.w if sheet.height > sheet.width else 0.72 * room.w
    left = room.x + (room.w - wide) / 2
    image = [picture(wide, 0, sheet.seed)]
    head, tail = sheet.head(wide), [sheet.body(wide), sheet.call(wide)]
    column = [*image, *head, *tail] if rng.random() < 0.3 else [*head, *image, *tail]
    return fit(column, Region(left, room.y, wide, room.h), sheet.type.body)


def written(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """Words alone, centred on the page."""
    room = sheet.inner
    larger = sheet.type if sheet.width < sheet.height else sheet.type.scaled(1.2)
    sheet = replace(sheet, align="center", type=larger)
    wide = 0.8 * sheet.width if sheet.width < sheet.height else 0.64 * sheet.width
    return fit(
        [*sheet.head(wide), sheet.body(wide), sheet.call(wide)],
        Region((sheet.width - wide) / 2, room.y, wide, room.h),
        1.35 * sheet.type.body,
    )


def band(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """An image across the page, above or below a column."""
    room, above = sheet.inner, rng.random() < 0.6
    high = sheet.height * rng.uniform(0.36, 0.45)
    image = replace(picture(sheet.width, high, sheet.seed), y=0 if above else sheet.height - high)
    start = high + 0.6 * sheet.margin if above else 0.8 * sheet.margin
    region = Region(room.x, start, room.w, sheet.height - high - 1.4 * sheet.margin)
    if sheet.width < sheet.height:
        column = fit([*sheet.head(room.w), sheet.body(room.w), sheet.call(room.w)], region, sheet.type.body)
        return column and [image, *column]
    sheet, half = replace(sheet, align="left"), 0.46 * room.w
    left = fit(sheet.head(half), region, sheet.type.body)
    right = fit([sheet.body(half), sheet.call(half)], region, sheet.type.body)
    if left is None or right is None:
        return None
    rise = left[0].y - right[0].y
    return [image, *left, *(part.moved(room.w - half, rise) for part in right)]


def card(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """A card in the middle of the ground."""
    pad = 0.85 * sheet.margin
    wide = (0.82 if sheet.height > sheet.width else 0.6) * sheet.width
    inner = wide - 2 * pad
    image = [picture(inner, 0, sheet.seed)] if rng.random() < 0.5 else []
    column = [*image, *sheet.head(inner, "surface"), sheet.body(inner, on="surface"), sheet.call(inner, "surface")]
    left, room = (sheet.width - wide) / 2, sheet.height - 2 * (0.7 * sheet.margin + pad)
    placed = fit(column, Region(left + pad, 0.7 * sheet.margin + pad, inner, room), 1.1 * sheet.type.body)
    if placed is None:
        return None
    top, bottom = placed[0].y - pad, placed[-1].bottom + pad
    return [Part("card", left, top, wide, bottom - top), *placed]


def columns(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """A head over equal columns of image and text."""
    room, unit = sheet.inner, sheet.type.body
    count = 2 if sheet.height > sheet.width else 3
    gutter = 1.6 * unit
    wide = (room.w - (count - 1) * gutter) / count
    head, call = sheet.head(room.w), sheet.call(room.w)
    texts = [sheet.body(wide, place) for place in range(count)]
    rest = room.h - height_of(head, unit) - max(text.h for text in texts) - call.h - 5.5 * unit
    high = min(rest, 0.8 * wide)
    if high < 0.35 * wide:
        return None
    top = room.y + (rest - high) / 2
    placed = place(head, room.x, top, unit)
    below = placed[-1].bottom + 2 * unit
    for number, text in enumerate(texts):
        left = room.x + number * (wide + gutter)
        placed += place([picture(wide, high, sheet.seed + number), text], left, below, unit)
    foot = max(part.bottom for part in placed) + 2 * unit
    return [*placed, call.moved(room.x, foot)]


def split(sheet: Sheet, rng: np.random.Generator) -> PlacedParts:
    """An image on one side, a column on the other; for pages that are wider than high."""
    if sheet.width < sheet.height:
        return None
    sheet = replace(sheet, align="left")
    full, mirrored = rng.random() < 0.5, rng.random() < 0.4
    half = sheet.width / 2
    wide = half - 1.9 * sheet.margin
    column = fit(
        [*sheet.head(wide), sheet.body(wide), sheet.call(wide)],
        Region(0, sheet.margin, wide, sheet.inner.h),
        1.3 * sheet.type.body,
    )
    if column is None:
        return None
    inset = 0.0 if full else sheet.margin
    image = picture(half - inset, sheet.height - 2 * inset, sheet.seed)
    image = image.moved(inset if mirrored else half, inset)
    start = half + 0.9 * sheet.margin if mirrored else sheet.margin
    return [image, *(part.moved(start, 0) for part in column)]


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "portrait": (stacked, stacked, written, band, card, columns),
    "landscape": (stacked, written, band, card, columns, split, split),
}


def crowded(sheet: Sheet, rng: np.random.Generator, amount: float) -> list[Part]:
    """The same page crammed: small type in narrow columns, panels and buttons in every gap, hardly a margin."""
    unit = sheet.type.body * (0.82 - 0.12 * amount)
    edge, gutter = (0.022 - 0.012 * amount) * sheet.width, unit * (0.8 - 0.35 * amount)
    count = (2 if sheet.height > sheet.width else 4) + int(amount > 0.6)
    room = sheet.width - 2 * edge
    small = replace(sheet, type=replace(sheet.type, body=unit, title=0.8 * sheet.type.title, small=unit))
    placed = place(small.head(room), edge, edge, 0.45 * unit)
    start = placed[-1].bottom + gutter
    wide = (room - (count - 1) * gutter) / count
    for number in range(count):
        placed += _filled(small, rng, Region(edge + number * (wide + gutter), start, wide, sheet.height - edge - start), gutter)
    return placed


def _filled(sheet: Sheet, rng: np.random.Generator, region: Region, gap: float) -> list[Part]:
    """A column full to its end."""
    placed: list[Part] = []
    y, turn = region.y, int(rng.integers(3))
    while True:
        text = write("text", words.sentences(rng, int(rng.integers(2, 5))), sheet.type.body, region.w, align=sheet.align)
        kinds: Sequence[Part] = (
            text,
            picture(region.w, region.w * rng.uniform(0.3, 0.5), sheet.seed + turn),
            press(words.button(rng), sheet.type.body, region.w, align=sheet.align),
        )
        part = kinds[(0, 1, 0, 2, 0)[turn % 5]]
        if y + part.h > region.y + region.h:
            return placed
        placed.append(part.moved(region.x, y))
        y, turn = placed[-1].bottom + gap, turn + 1
