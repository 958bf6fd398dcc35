"""Backgrounds for event posters: two colours, a direction and a pattern."""

from dataclasses import dataclass, replace

import numpy as np

from api.starter.world.canvas import Canvas, Colour, mix
from api.starter.world.shapes import star_points
from api.starter.world.words import another, article, dressed, pick

TONES: dict[str, Colour] = {
    "red": (218, 52, 60),
    "orange": (246, 148, 58),
    "yellow": (250, 216, 92),
    "green": (70, 170, 108),
    "teal": (44, 160, 168),
    "blue": (58, 110, 216),
    "purple": (130, 70, 190),
    "pink": (244, 130, 178),
}
PATTERNS = ("plain", "confetti", "dots", "stripes", "stars", "bokeh", "waves", "rays")
DIRECTIONS = {"vertical": 90.0, "diagonal": 50.0}
_MOODS = {
    "plain": "calm",
    "confetti": "festive",
    "dots": "playful",
    "stripes": "modern",
    "stars": "magical",
    "bokeh": "dreamy",
    "waves": "relaxed",
    "rays": "energetic",
}
_PATTERN_WORDS = {
    "plain": ("",),
    "confetti": (" with confetti", " with colorful confetti"),
    "dots": (" with dots", " with polka dots"),
    "stripes": (" with stripes",),
    "stars": (" with stars", " with little stars"),
    "bokeh": (" with bokeh lights", " with soft lights"),
    "waves": (" with waves",),
    "rays": (" with rays", " with sun rays"),
}
_PAPER = ((250, 90, 90), (255, 220, 80), (90, 210, 140), (90, 160, 250), (255, 255, 255))


@dataclass(frozen=True)
class Poster:
    """The colour on top runs into the one below."""

    top: str
    bottom: str
    pattern: str
    direction: str
    kind: str = "poster"


def sample_poster(rng: np.random.Generator) -> Poster:
    top, bottom = (str(tone) for tone in rng.permutation(list(TONES))[:2])
    if rng.random() < 0.25:
        bottom = top
    return Poster(top, bottom, pick(rng, PATTERNS), pick(rng, tuple(DIRECTIONS)))


def change_poster(poster: Poster, rng: np.random.Generator) -> Poster:
    """The same with another pattern, or another colour above or below."""
    what = pick(rng, ("pattern", "top", "bottom"))
    options = PATTERNS if what == "pattern" else tuple(TONES)
    return replace(poster, **{what: another(rng, options, getattr(poster, what))})


def draw_poster(canvas: Canvas, poster: Poster, rng: np.random.Generator) -> None:
    top, bottom = TONES[poster.top], TONES[poster.bottom]
    if top == bottom:
        top = mix(top, (255, 255, 255), 0.25)
    canvas.gradient(0, 128, [top, bottom], DIRECTIONS[poster.direction])
    draw_pattern(canvas, poster.pattern, rng)


def draw_pattern(canvas: Canvas, pattern: str, rng: np.random.Generator) -> None:
    _PATTERN_DRAWERS[pattern](canvas, rng)


def _draw_confetti(canvas: Canvas, rng: np.random.Generator) -> None:
    for index in range(36):
        x, y = rng.uniform(2, 126, 2)
        with canvas.rotated(rng.uniform(0, 180), x, y):
            canvas.rect(x - 3.4, y - 1.9, 6.8, 3.8, _PAPER[index % len(_PAPER)])


def _draw_dots(canvas: Canvas, rng: np.random.Generator) -> None:
    step, start = 21.0, rng.uniform(4, 12)
    for row, y in enumerate(np.arange(start, 130, step)):
        for x in np.arange(start + (row % 2) * step / 2, 130, step):
            canvas.circle(x, y, 4.4, (255, 255, 255), 0.6)


def _draw_stripes(canvas: Canvas, rng: np.random.Generator) -> None:
    start = rng.uniform(-10, 10)
    for x in np.arange(-120 + start, 130, 30):
        canvas.polygon(((x, 130), (x + 132, -2), (x + 146, -2), (x + 14, 130)), (255, 255, 255), 0.28)


def _draw_stars(canvas: Canvas, rng: np.random.Generator) -> None:
    with canvas.labelled("stars"):
        for x, y in _spread(rng):
            canvas.polygon(star_points(x, y, rng.uniform(5, 8)), (255, 244, 180))


def _draw_bokeh(canvas: Canvas, rng: np.random.Generator) -> None:
    for x, y in _spread(rng):
        canvas.circle(x, y, rng.uniform(7, 15), (255, 255, 255), 0.26)


def _draw_waves(canvas: Canvas, rng: np.random.Generator) -> None:
    phase, xs = rng.uniform(0, 6), np.linspace(-4, 132, 30)
    for y in np.arange(22, 130, 26):
        points = [(float(x), float(y + 6 * np.sin(x / 128 * 4 * np.pi + phase))) for x in xs]
        canvas.line(points, (255, 255, 255), 5, 0.45)


def _draw_rays(canvas: Canvas, rng: np.random.Generator) -> None:
    turn = rng.uniform(0, 0.5)
    for angle in np.arange(turn, turn + 2 * np.pi, np.pi / 7):
        ends = [(64 + 120 * np.cos(angle + d), 64 + 120 * np.sin(angle + d)) for d in (-0.11, 0.11)]
        canvas.polygon([(64, 64), *ends], (255, 255, 255), 0.32)


def _spread(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Sixteen places, one in each field of a 4 by 4 grid."""
    return [(16 + 32 * i + rng.uniform(-9, 9), 16 + 32 * j + rng.uniform(-9, 9)) for i in range(4) for j in range(4)]


_PATTERN_DRAWERS = {
    "plain": lambda canvas, rng: None,
    "confetti": _draw_confetti,
    "dots": _draw_dots,
    "stripes": _draw_stripes,
    "stars": _draw_stars,
    "bokeh": _draw_bokeh,
    "waves": _draw_waves,
    "rays": _draw_rays,
}


def describe_poster(poster: Poster, rng: np.random.Generator) -> str:
    mood = _MOODS[poster.pattern] + " " if rng.random() < 0.3 else ""
    if poster.top == poster.bottom:
        name = f"{mood}{poster.top} {pick(rng, ('background', 'poster background', 'backdrop'))}"
    else:
        join = pick(rng, ("to", "and"))
        what = pick(rng, ("gradient", "gradient background", "poster background"))
        name = f"{mood}{poster.top} {join} {poster.bottom} {what}"
    return dressed(rng, article(name) + pick(rng, _PATTERN_WORDS[poster.pattern]))
