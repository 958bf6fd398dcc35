"""What a poster consists of, and how parts are stacked into columns. Lengths are pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from api.starter.world.posters import words
from api.starter.world.posters.palettes import Palette

TEXTS = ("title", "subtitle", "date", "text")
CAP, DROP = 0.76, 0.24  # of the size: from a line's box to its baseline, and below it


@dataclass(frozen=True)
class Part:
    """One element: text in lines, a button with its label, an image panel, or a card that others lie on.

    `role`: which of the palette's colours it is written in; `on`: which it lies on; `fade`: contrast left of a text, 0 for all of it.
    """

    kind: str
    x: float
    y: float
    w: float
    h: float
    lines: tuple[str, ...] = ()
    size: float = 0.0
    align: str = "left"
    bold: bool = False
    role: str = "ink"
    on: str = "ground"
    fade: float = 0.0
    seed: int = 0

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    @property
    def leading(self) -> float:
        return self.size * (1.12 if self.kind == "title" else 1.42)

    def moved(self, dx: float, dy: float) -> "Part":
        return replace(self, x=self.x + dx, y=self.y + dy)

    def scaled(self, scale: float) -> "Part":
        return replace(self, x=self.x * scale, y=self.y * scale, w=self.w * scale, h=self.h * scale, size=self.size * scale)


@dataclass(frozen=True)
class EventPoster:
    """A poster or page: what is drawn follows from it alone. `fault`: what was spoiled, "" for nothing; `amount`: how much, 0-1."""

    width: int
    height: int
    palette: Palette
    pattern: str
    pattern_strength: float
    angle: float
    parts: tuple[Part, ...]
    seed: int
    image_palette: Palette
    font_class: str
    layout_class: str
    fault: str = ""
    amount: float = 0.0

    def scaled(self, scale: float) -> "EventPoster":
        """The same at another size."""
        parts = tuple(part.scaled(scale) for part in self.parts)
        return replace(self, width=round(self.width * scale), height=round(self.height * scale), parts=parts)

    @property
    def elements(self) -> list[dict[str, float | str]]:
        """Boxes as POST /api/score/ takes them. A card is none: it is the ground of others."""
        shown = [part for part in self.parts if part.kind != "card"]
        return [{"kind": p.kind, "x": p.x, "y": p.y, "w": p.w, "h": p.h} for p in shown]

    @property
    def variant(self) -> dict[str, str]:
        top, bottom, ink = self.palette.names
        gradient = f"bg-gradient-to-b {top} {bottom}" if top else ""
        return {"gradient": gradient, "font": f"{self.font_class} {ink}".strip(), "layout": self.layout_class}

    @property
    def event_data(self) -> dict[str, str]:
        text_of_kind = {kind: " ".join(" ".join(p.lines) for p in self.parts if p.kind == kind) for kind in ("title", "text")}
        return {"title": text_of_kind["title"], "description": text_of_kind["text"]}


@dataclass(frozen=True)
class Type:
    """Sizes of one scale."""

    body: float
    title: float
    subtitle: float
    small: float

    def scaled(self, scale: float) -> "Type":
        return Type(self.body * scale, self.title * scale, self.subtitle * scale, self.small * scale)


@dataclass(frozen=True)
class Region:
    x: float
    y: float
    w: float
    h: float


def write(
    kind: str, text: str, size: float, width: float, *, align: str = "left", role: str = "ink", on: str = "ground"
) -> Part:
    """Wrapped into a column that begins at 0, 0; its box is as wide as its widest line."""
    bold = kind in ("title", "date")
    lines = words.wrapped(text, size, bold, width)
    wide = max(words.width_of(line, size, bold) for line in lines)
    part = Part(kind, 0, 0, wide, 0, lines, size, align, bold, role, on)
    return replace(part, x=(width - wide) / 2 if align == "center" else 0, h=(len(lines) - 1) * part.leading + size)


def press(text: str, size: float, width: float, *, align: str = "left", on: str = "ground") -> Part:
    """A button."""
    wide, high = words.width_of(text, size, True) + 2.6 * size, 2.5 * size
    x = (width - wide) / 2 if align == "center" else 0
    return Part("button", x, 0, wide, high, (text,), size, "center", True, "on_accent", on)


def picture(width: float, height: float, seed: int) -> Part:
    return Part("image", 0, 0, width, height, seed=seed)


def gap_between(first: Part, second: Part, unit: float) -> float:
    kinds = (first.kind, second.kind)
    if kinds in (("date", "title"), ("title", "subtitle")):
        return 0.75 * unit
    return 1.5 * unit if {"image", "button"} & set(kinds) else 1.15 * unit


def height_of(column: Sequence[Part], unit: float) -> float:
    gaps = sum(gap_between(a, b, unit) for a, b in pairwise(column))
    return sum(part.h for part in column) + gaps


def place(column: Sequence[Part], x: float, y: float, unit: float) -> list[Part]:
    """Below each other."""
    placed: list[Part] = []
    for part in column:
        if placed:
            y = placed[-1].bottom + gap_between(placed[-1], part, unit)
        placed.append(part.moved(x, y - part.y))
    return placed


def fit(column: Sequence[Part], region: Region, unit: float, *, middle: bool = True) -> list[Part] | None:
    """The column in a region, with its image as high as there is room; None where it does not fit."""
    rest = region.h - height_of(column, unit) + sum(part.h for part in column if part.kind == "image")
    images = sum(part.kind == "image" for part in column)
    if rest < images * 0.16 * region.h:
        return None
    high = min(rest / images, 0.66 * region.w) if images else 0.0
    grown = [replace(part, h=high) if part.kind == "image" else part for part in column]
    over = region.h - height_of(grown, unit)
    return place(grown, region.x, region.y + (over / 2 if middle else 0), unit)
