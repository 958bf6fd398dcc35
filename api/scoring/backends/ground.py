"""What a page is printed on: a plain colour, or one that changes evenly from side to side, as gradients do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.uint8]
"""(H, W, 3)"""
NEAR = 8  # grey levels in any channel, within which a pixel is of the ground
BORDER = 0.015  # of a box's shorter side: how wide the strips along its sides are
GRID = 3000  # so many pixels at most are looked at to tell how much of a box is of a ground


@dataclass(frozen=True)
class Ground:
    """A plane in each of the three channels: `level` at the page's pixel (0, 0), `across` and `down` what is added for each pixel."""

    level: NDArray[np.float32]
    across: NDArray[np.float32]
    down: NDArray[np.float32]

    def share(self, rgb: Colours, box: tuple[int, int, int, int]) -> float:
        """Of a box's pixels, those that are of this ground, 0-1."""
        left, top, width, height = box
        step = max(1, int(np.sqrt(width * height / GRID)))
        part = rgb[top : top + height : step, left : left + width : step].astype(np.float32)
        x = np.arange(left, left + width, step, dtype=np.float32)[None, :, None]
        y = np.arange(top, top + height, step, dtype=np.float32)[:, None, None]
        apart = np.abs(part - (self.level + self.across * x + self.down * y)).max(axis=2)
        return float((apart < NEAR).mean())

    def apart(self, rgb: Colours) -> NDArray[np.uint8]:
        """(H, W): each pixel's distance from this ground in grey levels, in the channel where that is largest."""
        x, y = np.arange(rgb.shape[1], dtype=np.float32), np.arange(rgb.shape[0], dtype=np.float32)
        parts = zip(cv2.split(rgb), self.level, self.across, self.down, strict=True)
        planes = ((part, np.add.outer(down * y, level + across * x)) for part, level, across, down in parts)
        first, second, third = (cv2.absdiff(part, np.asarray(cv2.convertScaleAbs(plane))) for part, plane in planes)
        return np.asarray(cv2.max(cv2.max(first, second), third), np.uint8)


def ground_along(rgb: Colours, box: tuple[int, int, int, int]) -> Ground:
    """From what of the page's own border lies in a box. Less than half of it may be covered."""
    left, top, width, height = box
    page_height, page_width = rgb.shape[:2]
    strip = max(1, round(BORDER * min(page_height, page_width)))
    sides = [x for x in (0, page_width - strip) if left <= x < left + width]
    levels = [y for y in (0, page_height - strip) if top <= y < top + height]
    columns = [
        cv2.reduce(rgb[top : top + height, x : x + strip], 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0] for x in sides
    ]  # (height, 3) each
    rows = [cv2.reduce(rgb[y : y + strip, left : left + width], 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0] for y in levels]
    down, across = _slope(columns), _slope(rows)
    along = np.arange(top, top + height)[:, None] * down, np.arange(left, left + width)[:, None] * across
    flat = [column - along[0] - (x + strip / 2) * across for x, column in zip(sides, columns, strict=True)]
    flat += [row - along[1] - (y + strip / 2) * down for y, row in zip(levels, rows, strict=True)]
    level = np.median(np.concatenate(flat), axis=0)
    return Ground(level.astype(np.float32), across.astype(np.float32), down.astype(np.float32))


def _slope(profiles: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """The median change from pixel to pixel, taken over half a profile's length."""
    half = len(profiles[0]) // 2 if profiles else 0
    if not half:
        return np.zeros(3)
    return np.median(np.concatenate([profile[half:] - profile[:-half] for profile in profiles]), axis=0) / half
