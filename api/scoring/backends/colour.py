"""Colour: how much, which, and how they go together."""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np

from api.scoring.backends.page import Floats, Page

RGB = tuple[int, int, int]
PALETTE_SIZE = 6
SAMPLE, MOST_BINS, LEAST_SHARE = 128, 96, 0.004
SAME_COLOUR = 20.0  # CIE76: two of the palette nearer than this are shown as one


def colorfulness(page: Page) -> float:
    """Hasler & Süsstrunk 2003 (10.1117/12.477378): rg = R−G, yb = (R+G)/2−B; hypot(σ_rg, σ_yb) + 0.3·hypot(μ_rg, μ_yb)."""
    red, green, blue = cv2.split(page.rgb)
    yellow = cv2.add(red, green, dtype=cv2.CV_16S)  # twice, so that whole numbers stay whole
    opponents = (
        (cv2.subtract(red, green, dtype=cv2.CV_16S), 1),
        (cv2.subtract(yellow, cv2.add(blue, blue, dtype=cv2.CV_16S)), 2),
    )
    moments = [np.concatenate(cv2.meanStdDev(opponent))[:, 0] / scale for opponent, scale in opponents]
    mean, deviation = zip(*moments, strict=True)
    return float(np.hypot(*deviation) + 0.3 * np.hypot(*mean))


def to_lab(colors: Sequence[RGB]) -> Floats:
    """(n, 3)"""
    pixels = np.array(colors, np.float32).reshape(1, -1, 3) / 255
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), np.float64)[0]


def palette(page: Page) -> list[tuple[RGB, float]]:
    """The main colours with their shares, the largest first: bins of 16 levels, each joined to the first that looks alike."""
    size = (min(page.width, SAMPLE), min(page.height, SAMPLE))
    pixels = np.asarray(cv2.resize(page.rgb, size, interpolation=cv2.INTER_NEAREST)).reshape(-1, 3).astype(np.int64)
    bins = (pixels // 16) @ np.array([256, 16, 1])
    counts = np.bincount(bins, minlength=4096)
    sums = [np.bincount(bins, weights=pixels[:, channel], minlength=4096) for channel in range(3)]
    order = np.argsort(-counts, kind="stable")[: int(min(MOST_BINS, (counts > 0).sum()))]
    means = np.stack([channel[order] / counts[order] for channel in sums], axis=1).round().astype(int)
    colors: list[RGB] = [(int(r), int(g), int(b)) for r, g, b in means]
    shares = join_alike(to_lab(colors), counts[order] / len(pixels))
    largest = sorted(shares.items(), key=lambda item: -item[1])[:PALETTE_SIZE]
    return [(colors[place], share) for place, share in largest if share >= LEAST_SHARE] or [(colors[0], 1.0)]


def join_alike(labs: Floats, shares: Floats) -> dict[int, float]:
    """Shares by the place of the first colour of each group within SAME_COLOUR of it."""
    joined: dict[int, float] = {}
    for place, share in enumerate(shares):
        kept = list(joined)
        apart = np.linalg.norm(labs[kept] - labs[place], axis=1) if kept else np.array([np.inf])
        twin = kept[int(apart.argmin())] if kept and apart.min() < SAME_COLOUR else place
        joined[twin] = joined.get(twin, 0.0) + float(share)
    return joined


def pair_harmony(first: Floats, second: Floats) -> float:
    """Ou & Luo, "A colour harmony model for two-colour combinations", Color Res. Appl. 31:191-204, 2006; of two CIELAB colours.

    HC + HL + HH, about −1.24 to 1.39. It punishes dark pairs.
    """
    chromas = [float(np.hypot(lab[1], lab[2])) for lab in (first, second)]
    lights = [float(first[0]), float(second[0])]
    chroma_apart = chromas[0] - chromas[1]
    hue_apart = (first[1] - second[1]) ** 2 + (first[2] - second[2]) ** 2 - chroma_apart**2
    apart = np.sqrt(max(0.0, float(hue_apart)) + (chroma_apart / 1.46) ** 2)
    chroma = 0.04 + 0.53 * np.tanh(0.8 - 0.045 * apart)
    light = 0.28 + 0.54 * np.tanh(-3.88 + 0.029 * sum(lights)) + 0.14 + 0.15 * np.tanh(-2 + 0.2 * abs(lights[0] - lights[1]))
    return float(chroma + light + sum(hue_preference(lab) for lab in (first, second)))


def hue_preference(lab: Floats) -> float:
    """One colour's part of HH: EC(HS + EY)."""
    hue = float(np.degrees(np.arctan2(lab[2], lab[1])) % 360)
    strength = 0.5 + 0.5 * np.tanh(-2 + 0.5 * np.hypot(lab[1], lab[2]))
    liked = -0.08 - 0.14 * np.sin(np.radians(hue + 50)) - 0.07 * np.sin(np.radians(2 * hue + 90))
    x = (90 - hue) / 10
    yellow = (0.22 * lab[0] - 12.8) / 10 * np.exp(x - np.exp(x))
    return float(strength * (liked + yellow))


def palette_harmony(colors: Sequence[tuple[RGB, float]]) -> float:
    """Over all pairs, weighted by the product of their shares' roots, so that accents count; one colour is its own pair."""
    labs = to_lab([color for color, _ in colors])
    if len(labs) == 1:
        return pair_harmony(labs[0], labs[0])
    pairs = list(combinations(range(len(labs)), 2))
    weights = [float(np.sqrt(colors[i][1] * colors[j][1])) for i, j in pairs]
    return float(np.average([pair_harmony(labs[i], labs[j]) for i, j in pairs], weights=weights))
