"""Lines cut out of a picture and straightened, as the recognisers take them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Corners = NDArray[np.float32]

HEIGHT = 48
"""PP-OCR's own; Tesseract read no more lines of 36 or 64 pixels."""
LONGEST = 48 * 80
MARGIN = 0.05
"""Of the height, around a line: without it Tesseract read 127 of 128 lines of a clean page."""
UPRIGHT = 1.5
"""A line that is so many times as high as it is wide runs downwards or upwards."""
LONG, NARROWED = 320, 0.75
"""PP-OCR takes as long as a line is wide. Longer lines are narrowed: of 64 none was read otherwise; at 0.65 some were."""
NOISY = 4.0
SMOOTHING = 1.0
"""Levels of 255, and pixels of a line: on 193 noisy lines it made 172 right ones 177, on clean ones it costs some."""
LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
DARKEST, LIGHTEST = 2, 98
"""Percentiles that become black and white."""


def straighten(picture: Picture, corners: Corners) -> Picture:
    """The line in `corners` (clockwise from where it begins), HEIGHT pixels high."""
    corners = with_margin(corners)
    width, height = sides_of(corners)
    across = int(np.clip(round(width * HEIGHT / height), 1, LONGEST))
    target = np.array([[0, 0], [across, 0], [across, HEIGHT], [0, HEIGHT]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(picture, matrix, (across, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def turns_of(corners: Corners) -> list[Corners]:
    """Where the line may begin, of corners that begin at the top left: an upright line is tried downwards and upwards."""
    width, height = sides_of(corners)
    return [np.roll(corners, -1, axis=0), np.roll(corners, 1, axis=0)] if height > UPRIGHT * width else [corners]


def sides_of(corners: Corners) -> tuple[float, float]:
    """Width and height, a pixel at least."""
    a, b, c, d = corners
    width = max(np.linalg.norm(a - b), np.linalg.norm(d - c))
    height = max(np.linalg.norm(a - d), np.linalg.norm(b - c))
    return max(1.0, float(width)), max(1.0, float(height))


def with_margin(corners: Corners) -> Corners:
    width, height = sides_of(corners)
    a, b, _, d = corners
    right, down = (b - a) / width * MARGIN * height, (d - a) / height * MARGIN * height
    return corners + np.array([-right - down, right - down, right + down, down - right], np.float32)


def narrow(line: Picture) -> Picture:
    """For PP-OCR."""
    height, width = line.shape[:2]
    if width <= LONG:
        return line
    return cv2.resize(line, (max(LONG, round(width * NARROWED)), height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def noise_of(picture: Picture) -> float:
    """The standard deviation of the noise in levels of 255: the median of what a Laplacian leaves, which edges don't move."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.median(np.abs(cv2.filter2D(grey, -1, LAPLACIAN)))) / (6 * 0.6745)


def as_dark_on_light(line: Picture, *, noisy: bool) -> Picture:
    """For Tesseract: grey, of full contrast, dark letters on light."""
    grey = cv2.cvtColor(line, cv2.COLOR_RGB2GRAY)
    if noisy:
        grey = cv2.GaussianBlur(grey, (0, 0), SMOOTHING)
    low, high = np.percentile(grey, (DARKEST, LIGHTEST))
    grey = np.clip((grey.astype(np.float32) - low) * (255 / max(1.0, high - low)), 0, 255).astype(np.uint8)
    _, light = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    return 255 - grey if np.mean(light > 0) < 0.5 else grey  # type: ignore[no-any-return]
