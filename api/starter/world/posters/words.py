"""What posters say, and how wide it is: titles, dates and sentences, in the one font that every installation has."""

from functools import cache

import numpy as np
import skia
from PIL import ImageFont

from api.starter.world.words import pick

_WHAT = (
    "Jazz Night", "Harbour Festival", "Spring Concert", "Night Market", "Open Air Cinema", "Poetry Evening", "Winter Lights", "Book Fair",
    "Street Food Day", "City Marathon", "Garden Party", "Film Week", "Lantern Walk", "Science Night", "Choir Concert", "Design Days",
    "Coffee Festival", "Chess Open", "Ceramics Fair", "Dance Weekend", "Farmers Market", "Photo Walk", "Theatre Night", "Museum Night",
)  # fmt: skip
_BEFORE = ("", "", "", "Midsummer ", "The Great ", "Autumn ", "Annual ", "Old Town ", "Northern ", "Riverside ")
_SUBTITLES = (
    "Live on the lake stage", "An evening under open skies", "Three days of music and food", "For everyone who likes to listen",
    "New voices and old favourites", "Free entry for all ages", "With artists from twelve countries", "Bring a friend and a blanket",
)  # fmt: skip
_MONTHS = ("January", "March", "April", "May", "June", "July", "August", "September", "October", "December")
_PLACES = ("Lake Stage", "Town Hall", "Old Harbour", "Market Square", "City Park", "River House", "Hill Garden", "Station Yard")
_SENTENCES = (
    "Doors open at six and the first set begins an hour later.", "Local kitchens serve dinner all evening long.",
    "Seats are unnumbered, so come early for a place in front.", "Children under twelve come in for free.",
    "The programme changes every day and ends at midnight.", "In case of rain we move into the old market hall.",
    "Trains run every ten minutes until two in the morning.", "Workshops in the afternoon need no registration.",
    "Our volunteers show the way from the station.", "All proceeds go to the school of music.",
    "There is room for bicycles behind the stage.", "Talks are given in English with live captions.",
    "A small exhibition tells how it all began.", "Wear warm clothes and good shoes.",
)  # fmt: skip
_BUTTONS = ("Get tickets", "Book now", "Join us", "Read more", "See programme", "Reserve a seat")


def title(rng: np.random.Generator) -> str:
    return pick(rng, _BEFORE) + pick(rng, _WHAT)


def subtitle(rng: np.random.Generator) -> str:
    return pick(rng, _SUBTITLES)


def date(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(1, 29))} {pick(rng, _MONTHS)}, {int(rng.integers(5, 10))} pm, {pick(rng, _PLACES)}"


def sentences(rng: np.random.Generator, count: int) -> str:
    return " ".join(_SENTENCES[int(i)] for i in rng.permutation(len(_SENTENCES))[:count])


def button(rng: np.random.Generator) -> str:
    return pick(rng, _BUTTONS)


@cache
def _typeface() -> skia.Typeface:
    """Aileron (CC0), which comes inside Pillow."""
    data = ImageFont.load_default(16).font_bytes  # type: ignore[union-attr]
    return skia.Typeface.MakeFromData(skia.Data.MakeWithCopy(data))


def font(size: float, bold: bool) -> skia.Font:
    made = skia.Font(_typeface(), size)
    made.setEmbolden(bold)
    made.setSubpixel(True)
    made.setHinting(skia.FontHinting.kNone)
    return made


@cache
def _advances(bold: bool) -> dict[str, float]:
    """Of each letter at size 1."""
    big = font(100, bold)
    return {chr(code): big.measureText(chr(code)) / 100 for code in range(32, 127)}


def width_of(text: str, size: float, bold: bool) -> float:
    table = _advances(bold)
    return size * sum(table[letter] for letter in text)


def wrapped(text: str, size: float, bold: bool, width: float) -> tuple[str, ...]:
    """Lines no wider than `width`, where a word alone is not."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size, bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)
