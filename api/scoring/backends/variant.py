"""A poster known by its Tailwind classes alone: the gradient's colours, text on it, how long the title is for its size.

The palette in tailwind.json is Tailwind CSS v3's (MIT, Tailwind Labs).
"""

import json
import math
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from api.scoring.backends import balance, colour
from api.scoring.backends.balance import AreaBox
from api.scoring.backends.contrast import RGB, contrast_ratio, relative_luminance
from api.scoring.backends.harmony import Harmony, find_harmony, hue_histogram
from api.scoring.backends.layout import Layout
from api.scoring.backends.measures import Measure, judge, judge_contrast
from api.scoring.backends.page import Floats, Page

SIZES = dict(
    zip(
        ["xs", "sm", "base", "lg", "xl", "2xl", "3xl", "4xl", "5xl", "6xl", "7xl", "8xl", "9xl"],
        (12, 14, 16, 18, 20, 24, 30, 36, 48, 60, 72, 96, 128),
        strict=True,
    )
)
DEFAULT_SIZE, BODY_SIZE, LARGE_TEXT = 36, 16, 24
POSTER, MARGIN = (600, 800), 40
GLYPH = 0.55  # a letter's mean width, of the size
STEPS = 33  # places along the gradient at which text is read
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
TEXT_NAMES = {BLACK: "black text", WHITE: "white text"}

STOP = re.compile(r"(from|via|to|bg)-(.+)")
DIRECTION = re.compile(r"bg-(gradient-to-(t|tr|r|br|b|bl|l|tl)|none|cover|center|fixed)|(from|via|to)-\d{1,3}%")
TYPE = re.compile(
    r"font-(sans|serif|mono|thin|extralight|light|normal|medium|semibold|bold|extrabold|black|\[.+\])|(tracking|leading|drop-shadow)(-\S+)?"
    r"|uppercase|lowercase|capitalize|normal-case|italic|not-italic|underline|no-underline|antialiased|truncate|text-(balance|wrap|justify)"
)
PLACING = re.compile(
    r"(flex|grid|inline|items|justify|content|place|self|gap|space|grow|shrink|basis|order|col|row|auto|w|h|size|min|max|p[xytrbl]?|m[xytrbl]?"
    r"|inset|top|left|right|bottom|z|rounded|shadow|overflow|object|aspect|container|columns|border|ring|opacity)(-\S+)?"
    r"|block|hidden|relative|absolute|fixed|sticky|static"
)
SIDES = {"center": 0.5, "centered": 0.5, "left": 0.0, "right": 1.0, "split": 0.0}
HEIGHTS = {"top": 0.0, "middle": 0.5, "bottom": 1.0}
ALONG = {"start": 0.0, "center": 0.5, "end": 1.0}


@dataclass
class Style:
    """What the classes say. `across`, `down`: where text stands, 0-1; None where nothing is said."""

    stops: dict[str, RGB] = field(default_factory=dict)
    text: RGB | None = None
    size: int = DEFAULT_SIZE
    across: float | None = None
    down: float | None = None
    column: bool = False
    unknown: list[str] = field(default_factory=list)

    @property
    def colors(self) -> list[RGB]:
        """The gradient's, in order; one for a plain ground."""
        gradient = [self.stops[name] for name in ("from", "via", "to") if name in self.stops]
        return gradient or [self.stops[name] for name in ("bg",) if name in self.stops]


@cache
def palette() -> dict[str, RGB]:
    data = json.loads(Path(__file__).with_name("tailwind.json").read_text())
    shades = {
        f"{name}-{shade}": parse_hex(value)
        for name, values in data["colors"].items()
        for shade, value in zip(data["shades"], values.split(), strict=True)
    }
    return {**shades, "white": WHITE, "black": BLACK}


def parse_hex(value: str) -> RGB:
    value = "".join(2 * digit for digit in value) if len(value) == 3 else value
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:6], 16)


def find_color(name: str) -> RGB | None:
    """'purple-500', 'white', '[#1da1f2]', also with an opacity behind a slash (laid on white); None for what is no colour."""
    name, _, opacity = name.partition("/")
    arbitrary = re.fullmatch(r"\[#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})\]", name)
    color = parse_hex(arbitrary[1]) if arbitrary else palette().get(name)
    if color is None or not re.fullmatch(r"\d{1,3}", opacity):
        return color
    share = min(int(opacity), 100) / 100
    red, green, blue = (round(level * share + 255 * (1 - share)) for level in color)
    return red, green, blue


def read_variant(variant: dict[str, str]) -> Style:
    """Any of the classes may stand in any of the three fields."""
    style = Style()
    for name in (name for text in variant.values() for name in text.split()):
        condition, _, bare = name.rpartition(":")
        if not read_class(style if not condition else Style(), bare):
            style.unknown.append(name)
    return style


def read_class(style: Style, name: str) -> bool:
    """Whether it is known."""
    return read_ground(style, name) or read_type(style, name) or read_place(style, name)


def read_ground(style: Style, name: str) -> bool:
    stop = STOP.fullmatch(name)
    color = find_color(stop[2]) if stop else None
    if stop and color:
        style.stops[stop[1]] = color
        return True
    return bool(DIRECTION.fullmatch(name))


def read_type(style: Style, name: str) -> bool:
    kind, _, value = name.partition("-")
    if kind == "text" and value in SIZES:
        style.size = SIZES[value]
        return True
    if kind == "text" and (color := find_color(value)):
        style.text = color
        return True
    return bool(TYPE.fullmatch(name))


def read_place(style: Style, name: str) -> bool:
    kind, _, value = name.partition("-")
    if kind == "text" and value in ("left", "center", "right", "start", "end"):
        style.across = {**SIDES, **ALONG}[value]
    elif name in ("flex-col", "grid"):
        style.column = True
    elif kind in ("items", "justify") and value in ALONG:
        across = (kind == "items") == style.column
        style.across, style.down = (ALONG[value], style.down) if across else (style.across, ALONG[value])
    elif name == "place-items-center":
        style.across = style.down = 0.5
    elif name in SIDES:
        style.across = SIDES[name]
    elif name in HEIGHTS:
        style.down = HEIGHTS[name]
    else:
        return bool(PLACING.fullmatch(name))
    return True


# ---------------------------------------------------------------- what is measured


def judge_variant(layout: Layout) -> tuple[list[Measure], list[str]]:
    """The measures, and a warning for classes that aren't Tailwind's."""
    style = read_variant(layout.variant)
    measures = [*judge_gradient(style), *judge_type(layout, style), *judge_placing(layout, style)]
    return measures, warnings_of(style)


def warnings_of(style: Style) -> list[str]:
    if not style.unknown:
        return []
    named = ", ".join(f"'{name[:60]}'" for name in style.unknown[:8])
    more = f" and {len(style.unknown) - 8} more" if len(style.unknown) > 8 else ""
    return [f"No Tailwind class that is known here: {named}{more}; the rest was scored."]


def gradient(colors: list[RGB]) -> Floats:
    """(STEPS, 3): sRGB levels along the gradient, as CSS mixes them."""
    places = np.linspace(0, 1, len(colors))
    table = np.array(colors, np.float64)
    return np.stack([np.interp(np.linspace(0, 1, STEPS), places, table[:, i]) for i in range(3)], axis=1)


def judge_gradient(style: Style) -> list[Measure]:
    if not style.colors:
        return []
    along = gradient(style.colors)
    labs = colour.to_lab(style.colors)
    pair = np.mean([colour.pair_harmony(a, b) for a, b in zip(labs, labs[1:] if len(labs) > 1 else labs, strict=False)])
    hues = find_harmony(hue_histogram(Page(np.round(along).astype(np.uint8)[None])))
    ratio, text = worst_contrast(along, style.text)
    return [
        judge_contrast("gradient_contrast", ratio, large=style.size >= LARGE_TEXT, text=text),
        judge_hues("gradient_hue_harmony", hues),
        judge("gradient_pair_harmony", float(pair)),
    ]


def judge_hues(name: str, harmony: Harmony) -> Measure:
    if harmony.neutral:
        return judge(name, 0.0, score=50.0, sentence="", note=harmony.template)
    note = f"template {harmony.template} at {harmony.angle}°"
    return judge(name, harmony.distance, note=note, degrees=math.degrees(harmony.distance), template=harmony.template)


def worst_contrast(along: Floats, text: RGB | None) -> tuple[float, str]:
    """The least ratio along the gradient; of the better of white and black where the classes name no text colour."""
    lights = [relative_luminance((int(r), int(g), int(b))) for r, g, b in np.round(along)]

    def worst(color: RGB) -> float:
        return min(contrast_ratio(relative_luminance(color), light) for light in lights)

    best = text or max((WHITE, BLACK), key=worst)
    return worst(best), TEXT_NAMES.get(best, "text in #{:02x}{:02x}{:02x}".format(*best))


def line_count(length: int, size: int) -> int:
    """Lines of a poster 600 px wide, at 0.55 of the size for a letter."""
    return math.ceil(length * GLYPH * size / (POSTER[0] - 2 * MARGIN))


def judge_type(layout: Layout, style: Style) -> list[Measure]:
    title, text = len(layout.title), len(layout.description)
    found = []
    if title:
        found.append(judge_lines("title_lines", title, style.size))
    if text:
        found.append(judge_lines("description_lines", text, BODY_SIZE))
    if title and text:
        found.append(judge("type_scale", style.size / BODY_SIZE))
    return found


def judge_lines(name: str, length: int, size: int) -> Measure:
    count = line_count(length, size)
    return judge(name, count, lines="1 line" if count == 1 else f"{count} lines", length=length, pixels=size)


def judge_placing(layout: Layout, style: Style) -> list[Measure]:
    boxes = place_text(layout, style)
    if not boxes or (style.across is None and style.down is None):
        return []
    return [
        judge("layout_balance", balance.ngo_balance(boxes, *POSTER)),
        judge("layout_equilibrium", balance.ngo_equilibrium(boxes, *POSTER)),
    ]


def place_text(layout: Layout, style: Style) -> list[AreaBox]:
    """Title above description, as large as their letters, where the layout's classes put them on a 600 × 800 poster."""
    room = (POSTER[0] - 2 * MARGIN, POSTER[1] - 2 * MARGIN)
    texts = [(len(layout.title), style.size), (len(layout.description), BODY_SIZE)]
    sizes = [(min(room[0], length * GLYPH * size), line_count(length, size) * size * 1.25) for length, size in texts if length]
    across = 0.0 if style.across is None else style.across
    down = 0.0 if style.down is None else style.down
    top = MARGIN + down * max(0.0, room[1] - sum(height for _, height in sizes))
    boxes = []
    for width, height in sizes:
        boxes.append((MARGIN + across * (room[0] - width), top, width, height))
        top += height
    return boxes
