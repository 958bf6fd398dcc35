"""Control maps by image processing alone: (height, width, 3) RGB uint8 in and out, light lines on black.

Lengths are given for a short side of 512 pixels and scale with the picture, so that a picture and its enlargement have the same map.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Map = Callable[[Pixels], Pixels]

REFERENCE_SIDE = 512
CANNY_THRESHOLDS = (100, 200)
SCRIBBLE_BLUR, SCRIBBLE_WIDTH, SCRIBBLE_THRESHOLDS = 3.0, 8.0, (40, 120)
LINEART_SIGMA, LINEART_NOISE = 6.0, 8
SOFT_EDGE_SIGMAS = (1.0, 2.0, 4.0)
LINE_WIDTH, SHORTEST_LINE = 2, 0.04
COLOUR_CELL = 64


def canny(pixels: Pixels) -> Pixels:
    return _as_rgb(_pixels(cv2.Canny(_grey(pixels), *CANNY_THRESHOLDS)))


def softedge(pixels: Pixels) -> Pixels:
    """The steepest gradient of three degrees of blur, the strongest edge at 255."""
    grey = _grey(pixels).astype(np.float32)
    steepness = np.zeros_like(grey)
    for sigma in SOFT_EDGE_SIGMAS:
        blurred = _blur(grey, sigma * _scale(pixels))
        across, down = (cv2.Sobel(blurred, cv2.CV_32F, x, y, ksize=3) for x, y in ((1, 0), (0, 1)))
        steepness = np.maximum(steepness, cv2.magnitude(across, down))
    return _as_rgb(_as_bytes(steepness * (255 / max(float(steepness.max()), 1.0))))


def scribble(pixels: Pixels) -> Pixels:
    """The edges that a slight blur leaves, as thick strokes: flat drawings have them too, where a threshold of differences of
    Gaussians finds dark lines alone.
    """
    scale = _scale(pixels)
    edges = cv2.Canny(cv2.GaussianBlur(_grey(pixels), (0, 0), max(SCRIBBLE_BLUR * scale, 0.5)), *SCRIBBLE_THRESHOLDS)
    width = max(2, round(SCRIBBLE_WIDTH * scale))
    return _as_rgb(_pixels(cv2.dilate(edges, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))))


def lineart(pixels: Pixels) -> Pixels:
    """What is darker than its surroundings, in shades."""
    values = pixels.astype(np.float32)
    darker = (_blur(values, LINEART_SIGMA * _scale(pixels)) - values).min(axis=2).clip(0, 255)
    seen = darker[darker > LINEART_NOISE]
    typical = max(16.0, float(np.median(seen))) if seen.size else 16.0
    return _as_rgb(_as_bytes(darker / typical * 127))


def straight_lines(pixels: Pixels) -> Pixels:
    """The straight edges of buildings and rooms, by the line segment detector (Grompone von Gioi et al., IPOL 2012)."""
    grey, least = _grey(pixels), SHORTEST_LINE * min(pixels.shape[:2])
    found = cv2.createLineSegmentDetector().detect(grey)[0]
    drawn = np.zeros_like(grey)
    for x1, y1, x2, y2 in () if found is None else found.reshape(-1, 4):
        if np.hypot(x2 - x1, y2 - y1) >= least:
            ends = [(round(float(x)), round(float(y))) for x, y in ((x1, y1), (x2, y2))]
            cv2.line(drawn, ends[0], ends[1], (255,), max(1, round(LINE_WIDTH * _scale(pixels))), cv2.LINE_AA)
    return _as_rgb(drawn)


def grey(pixels: Pixels) -> Pixels:
    return _as_rgb(_grey(pixels))


def colour(pixels: Pixels) -> Pixels:
    """The mean colour of each of 8 × 8 cells (at 512 pixels), and nothing finer."""
    height, width = pixels.shape[:2]
    cell = max(1.0, COLOUR_CELL * _scale(pixels))
    small = cv2.resize(pixels, (max(1, round(width / cell)), max(1, round(height / cell))), interpolation=cv2.INTER_AREA)
    return _pixels(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def tile(pixels: Pixels) -> Pixels:
    """The picture itself: a tile ControlNet keeps what is there and adds detail."""
    return pixels


def invert(pixels: Pixels) -> Pixels:
    """For a drawing of dark lines on white paper."""
    return _pixels(255 - pixels)


MAPS: dict[str, Map] = {
    "canny": canny,
    "softedge": softedge,
    "scribble": scribble,
    "lineart": lineart,
    "lines": straight_lines,
    "tile": tile,
    "grey": grey,
    "colour": colour,
    "invert": invert,
}


def _scale(pixels: Pixels) -> float:
    return min(pixels.shape[:2]) / REFERENCE_SIDE


def _blur(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)


def _grey(pixels: Pixels) -> Pixels:
    return _pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _as_rgb(grey: Pixels) -> Pixels:
    return _pixels(np.repeat(grey[..., None], 3, axis=2))


def _as_bytes(values: NDArray[np.float32]) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)


def _pixels(values: Any) -> Pixels:
    """OpenCV's stubs don't say what it gives."""
    return np.asarray(values, np.uint8)
