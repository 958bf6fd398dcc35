"""Event posters and pages with real text, as good ones and as the same ones spoiled by one known fault.

Apart from the world's kinds of pictures: what the diffusion model is trained on never draws from here. `sample_poster` makes a
good one, `spoil` a version with a fault of FAULTS, `render_poster` their pixels; boxes and Tailwind classes are properties.
"""

from dataclasses import replace

import numpy as np

from api.starter.world.poster import DIRECTIONS, PATTERNS
from api.starter.world.posters import words
from api.starter.world.posters.drawing import render_poster
from api.starter.world.posters.faults import SPOILERS
from api.starter.world.posters.layouts import LAYOUTS, Sheet, crowded
from api.starter.world.posters.palettes import PALETTES
from api.starter.world.posters.parts import EventPoster, Part, Type
from api.starter.world.words import pick

__all__ = ["FAULTS", "EventPoster", "render_poster", "sample_poster", "spoil"]

FAULTS = (*SPOILERS, "crowding")
SIZES = {"portrait": ((600, 681), (760, 861)), "landscape": ((1200, 1361), (760, 841))}
_FONTS = ("text-4xl font-bold", "text-5xl font-bold", "text-6xl font-extrabold")
_CLASSES = {"left": "flex flex-col items-start", "center": "flex flex-col items-center text-center"}


def sample_poster(rng: np.random.Generator) -> EventPoster:
    """A good one."""
    shape = pick(rng, tuple(SIZES))
    while True:
        sheet = _sample_sheet(rng, shape)
        layouts = LAYOUTS[shape]
        made = layouts[int(rng.integers(len(layouts)))](sheet, rng)
        if made is not None:
            return _make(sheet, made, rng)


def spoil(poster: EventPoster, fault: str, rng: np.random.Generator) -> EventPoster | None:
    """The same poster with one fault of FAULTS; None where this one can't be spoiled so."""
    amount = float(rng.random())
    spoiled = _crowd(poster, rng, amount) if fault == "crowding" else SPOILERS[fault](poster, rng, amount)
    return spoiled and replace(spoiled, fault=fault, amount=amount)


def _sample_sheet(rng: np.random.Generator, shape: str) -> Sheet:
    wide, high = (int(rng.integers(*span)) // 8 * 8 for span in SIZES[shape])
    unit = min(wide, high) / 640
    body = round(unit * rng.uniform(16.5, 19), 1)
    lead = rng.uniform(2.5, 3.4) if shape == "portrait" else rng.uniform(3.0, 4.0)
    sizes = Type(body, body * lead, body * rng.uniform(1.3, 1.5), body * 0.95)
    return Sheet(
        wide,
        high,
        margin=round(unit * rng.uniform(46, 62)),
        type=sizes,
        align=pick(rng, ("left", "center")),
        title=words.title(rng),
        subtitle=words.subtitle(rng),
        date=words.date(rng),
        texts=tuple(words.sentences(rng, int(rng.integers(2, 4))) for _ in range(3)),
        button=words.button(rng),
        seed=int(rng.integers(2**31)),
    )


def _make(sheet: Sheet, parts: list[Part], rng: np.random.Generator) -> EventPoster:
    palette = PALETTES[int(rng.integers(len(PALETTES)))]
    on_card = any(part.kind == "card" for part in parts)
    calm = tuple(pattern for pattern in PATTERNS if pattern != "confetti")
    return EventPoster(
        sheet.width,
        sheet.height,
        palette,
        pick(rng, calm) if rng.random() < 0.6 else "plain",
        float(rng.uniform(0.25, 0.5) if on_card else rng.uniform(0.06, 0.14)),
        DIRECTIONS[pick(rng, tuple(DIRECTIONS))],
        tuple(parts),
        sheet.seed,
        palette,
        pick(rng, _FONTS),
        _CLASSES[sheet.align],
    )


def _crowd(poster: EventPoster, rng: np.random.Generator, amount: float) -> EventPoster:
    """Laid out anew from the same words."""
    text_of_kind = {part.kind: " ".join(part.lines) for part in poster.parts if part.lines}
    sizes = {part.kind: part.size for part in poster.parts if part.lines}
    body = sizes["text"]
    sheet = Sheet(
        poster.width,
        poster.height,
        margin=0,
        type=Type(body, sizes["title"], sizes["subtitle"], body),
        align="left" if "items-start" in poster.layout_class else "center",
        title=text_of_kind["title"],
        subtitle=text_of_kind["subtitle"],
        date=text_of_kind["date"],
        texts=(),
        button=text_of_kind["button"],
        seed=poster.seed,
    )
    return replace(poster, parts=tuple(crowded(sheet, rng, amount)))
