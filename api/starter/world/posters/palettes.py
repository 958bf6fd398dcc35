"""Colours of event posters: sets that go together, and sets made to clash. Shades are Tailwind CSS v3's (MIT, Tailwind Labs)."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.starter.world.canvas import Colour, mix

LEAST_CONTRAST = 4.9  # WCAG AA asks for 4.5; a gradient and anti-aliased strokes take a little
SHADES = {
    "white": "ffffff", "slate-50": "f8fafc", "slate-100": "f1f5f9", "slate-600": "475569", "slate-800": "1e293b", "slate-900": "0f172a",
    "zinc-300": "d4d4d8", "zinc-800": "27272a", "zinc-900": "18181b", "zinc-950": "09090b",
    "stone-50": "fafaf9", "stone-100": "f5f5f4", "stone-300": "d6d3d1", "stone-700": "44403c", "stone-800": "292524", "stone-900": "1c1917",
    "red-900": "7f1d1d", "orange-100": "ffedd5", "orange-300": "fdba74", "orange-800": "9a3412",
    "amber-50": "fffbeb", "amber-100": "fef3c7", "amber-200": "fde68a", "amber-300": "fcd34d", "amber-400": "fbbf24", "amber-800": "92400e",
    "emerald-50": "ecfdf5", "emerald-200": "a7f3d0", "emerald-700": "047857", "emerald-800": "065f46", "emerald-900": "064e3b",
    "emerald-950": "022c22", "teal-50": "f0fdfa", "teal-100": "ccfbf1", "teal-800": "115e59", "teal-900": "134e4a", "teal-950": "042f2e",
    "sky-50": "f0f9ff", "sky-200": "bae6fd", "sky-800": "075985", "sky-900": "0c4a6e", "sky-950": "082f49", "cyan-900": "164e63",
    "blue-100": "dbeafe", "blue-700": "1d4ed8", "blue-800": "1e40af", "blue-900": "1e3a8a", "blue-950": "172554",
    "indigo-100": "e0e7ff", "indigo-200": "c7d2fe", "indigo-700": "4338ca", "indigo-950": "1e1b4b",
    "violet-50": "f5f3ff", "violet-700": "6d28d9", "violet-800": "5b21b6", "violet-950": "2e1065",
    "purple-100": "f3e8ff", "purple-800": "6b21a8", "purple-950": "3b0764", "fuchsia-200": "f5d0fe", "fuchsia-900": "701a75",
    "pink-100": "fce7f3", "rose-50": "fff1f2", "rose-200": "fecdd3", "rose-700": "be123c", "rose-800": "9f1239", "rose-900": "881337",
    "rose-950": "4c0519",
}  # fmt: skip


@dataclass(frozen=True)
class Palette:
    """`top`, `bottom`: the ground's gradient; `surface`: of cards; `names`: the gradient's and the ink's in Tailwind's words.

    `ink`, `muted` and `accent` can be read on the ground and on the surface, `on_accent` on the accent.
    """

    top: Colour
    bottom: Colour
    surface: Colour
    ink: Colour
    muted: Colour
    accent: Colour
    on_accent: Colour
    names: tuple[str, str, str]
    middle: Colour | None = None
    """A third stop of the gradient."""

    @property
    def ground(self) -> list[Colour]:
        return [self.top, self.middle, self.bottom] if self.middle else [self.top, self.bottom]


def shade(name: str) -> Colour:
    value = SHADES[name]
    return int(value[:2], 16), int(value[2:4], 16), int(value[4:], 16)


def _made(names: str) -> Palette:
    top, bottom, _, ink, *_ = names.split()
    colours = dict(
        zip(("top", "bottom", "surface", "ink", "muted", "accent", "on_accent"), map(shade, names.split()), strict=True)
    )
    return Palette(**colours, names=(f"from-{top}", f"to-{bottom}", f"text-{ink}"))


PALETTES = tuple(
    _made(names)
    for names in (
        "slate-900 indigo-950 slate-800 slate-50 indigo-200 amber-400 slate-900",
        "purple-950 fuchsia-900 purple-950 white fuchsia-200 amber-300 purple-950",
        "emerald-950 teal-900 emerald-900 emerald-50 emerald-200 amber-200 emerald-950",
        "sky-950 blue-900 sky-950 sky-50 sky-200 orange-300 sky-950",
        "rose-950 red-900 rose-950 rose-50 rose-200 amber-200 rose-950",
        "stone-900 stone-800 stone-900 stone-50 stone-300 amber-400 stone-900",
        "zinc-950 zinc-800 zinc-900 white zinc-300 rose-200 zinc-950",
        "indigo-700 violet-800 indigo-950 white indigo-100 amber-300 indigo-950",
        "teal-800 cyan-900 teal-950 white teal-50 amber-200 teal-950",
        "blue-700 sky-800 blue-950 white blue-100 amber-200 blue-950",
        "slate-50 slate-100 white slate-900 slate-600 blue-700 white",
        "amber-50 orange-100 white stone-900 stone-700 orange-800 white",
        "emerald-50 teal-100 white emerald-950 emerald-800 emerald-700 white",
        "rose-50 pink-100 white rose-950 rose-800 rose-700 white",
        "violet-50 purple-100 white violet-950 violet-800 violet-700 white",
        "sky-50 blue-100 white blue-950 blue-800 blue-700 white",
        "stone-100 amber-100 stone-50 stone-900 stone-700 amber-800 white",
    )
)


def luminance(colour: Colour) -> float:
    """WCAG's relative luminance, 0-1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (channel / 255 for channel in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Colour, second: Colour) -> float:
    """WCAG's ratio, 1-21."""
    lights = sorted((luminance(first), luminance(second)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def faded(ink: Colour, ground: Colour, ratio: float) -> Colour:
    """The ink mixed with the ground until about `ratio` is left between them."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if contrast(mix(ink, ground, middle), ground) > ratio else (low, middle)
    return mix(ink, ground, low)


def clashing(rng: np.random.Generator) -> Palette:
    """Saturated hues about a third of the wheel apart on the ground, and those between them on top; every text can be read."""
    start, turn = rng.uniform(0, 360), rng.choice((-1, 1))
    hues = [(start + turn * step + rng.uniform(-9, 9)) % 360 for step in (0, 125, 245, 65, 185)]
    dark = rng.random() < 0.5
    grounds = [_with_luminance(hue, 0.13 if dark else 0.42) for hue in hues[:3]]
    inks = [_with_luminance(hue, 0.8 if dark else 0.03) for hue in (hues[4], hues[3], hues[2])]
    ink, muted, accent = (_readable(colour, grounds, dark) for colour in inks)
    on_accent = max(((255, 255, 255), (0, 0, 0)), key=lambda colour: contrast(colour, accent))
    return Palette(grounds[0], grounds[2], grounds[1], ink, muted, accent, on_accent, ("", "", ""), grounds[1])


def _with_luminance(hue: float, level: float) -> Colour:
    """The most saturated colour of a hue at a luminance: shades of the pure colour below its own, tints above."""
    pure = colorsys.hsv_to_rgb(hue / 360, 1, 1)
    full: Colour = tuple(round(255 * channel) for channel in pure)  # type: ignore[assignment]
    other = (0, 0, 0) if luminance(full) > level else (255, 255, 255)
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        beyond = (luminance(mix(full, other, middle)) > level) == (other == (0, 0, 0))
        low, high = (middle, high) if beyond else (low, middle)
    return mix(full, other, high)


def _readable(ink: Colour, grounds: Sequence[Colour], dark: bool) -> Colour:
    """Lighter or darker until it can be read on all of them."""
    end = (255, 255, 255) if dark else (0, 0, 0)
    amounts = (
        amount for amount in np.linspace(0, 1, 21) if min(contrast(mix(ink, end, amount), g) for g in grounds) > LEAST_CONTRAST
    )
    return mix(ink, end, float(next(amounts, 1.0)))
