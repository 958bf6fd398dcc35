"""From a small mask to a picture's transparency: edges that follow the picture's, and colours without the ground's.  No torch, no Django.

Memory does not grow with the picture: what is as large as it is worked on in strips and tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

GUIDE_SIDE = 512
"""The longest side at which the filter's coefficients are found; they are smooth, and enlarged for the picture."""
RADIUS_SHARE, LEAST_RADIUS = 2, 2
"""Of what a value of the mask covers."""
EPSILON = 1e-4
"""How much the guide must vary, squared, to count as an edge; its values are 0..1."""
STRIP, TILE = 512, 512
"""Rows, and pixels on a side."""
COLOUR_RADIUS = 12
SURE = 8 / 255
"""Nearer to 0 and 1 than this is 0 and 1."""


def alpha_of(mask: Array, picture: Image.Image, *, refine: bool) -> Image.Image:
    """`mask`: (h, w) float32 of 0..1, of the whole picture at any size. → "L" of the picture's size."""
    return refined(mask, picture) if refine else enlarged(mask, picture.size)


def enlarged(mask: Array, size: tuple[int, int]) -> Image.Image:
    levels = Image.fromarray(np.round(np.clip(mask, 0, 1) * 255).astype(np.uint8))
    return levels if levels.size == size else levels.resize(size, Image.Resampling.BILINEAR)


def refined(mask: Array, picture: Image.Image) -> Image.Image:
    """The guided filter (He, Sun, Tang), fast: alpha is a linear function of the picture's colours in each neighbourhood."""
    slopes, offset = coefficients(mask, picture)
    width, height = picture.size
    alpha = Image.new("L", picture.size)
    for top in range(0, height, STRIP):
        rows = min(STRIP, height - top)
        share = top / height, (top + rows) / height
        colours = np.asarray(picture.crop((0, top, width, top + rows)), np.float32) / 255
        values = enlarged_part(offset, (width, rows), share).copy()
        for channel in range(3):
            values += enlarged_part(slopes[..., channel], (width, rows), share) * colours[..., channel]
        alpha.paste(Image.fromarray(np.round(settled(values) * 255).astype(np.uint8)), (0, top))
    return alpha


def settled(values: Array) -> Array:
    """Within 0..1, and what is nearly 0 or 1 is."""
    found: Array = np.clip((values - SURE) / (1 - 2 * SURE), 0, 1)
    return found


def coefficients(mask: Array, picture: Image.Image) -> tuple[Array, Array]:
    """Of alpha = slopes · colour + offset: (h, w, 3) and (h, w), at GUIDE_SIDE or less."""
    scale = min(1.0, GUIDE_SIDE / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    guide = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32) / 255
    wanted = np.asarray(Image.fromarray(np.clip(mask, 0, 1).astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    radius = max(LEAST_RADIUS, round(max(size) / max(mask.shape) * RADIUS_SHARE))
    mean_guide, mean_wanted = box(guide, radius), box(wanted, radius)
    covariance = box(guide * wanted[..., None], radius) - mean_guide * mean_wanted[..., None]
    variance = np.empty((*guide.shape, 3), np.float32)
    for first in range(3):
        for second in range(first, 3):
            shared = box(guide[..., first] * guide[..., second], radius) - mean_guide[..., first] * mean_guide[..., second]
            variance[..., first, second] = variance[..., second, first] = shared
    variance += EPSILON * np.eye(3, dtype=np.float32)
    slopes = np.linalg.solve(variance, covariance[..., None])[..., 0]
    return box(slopes, radius), box(mean_wanted - (slopes * mean_guide).sum(axis=-1), radius)


def box(values: Array, radius: int) -> Array:
    """The mean around each place."""
    found: Array = cv2.blur(values, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)
    return found


def enlarged_part(values: Array, size: tuple[int, int], share: tuple[float, float]) -> Array:
    """Of the rows from share[0] to share[1] of the height."""
    height, width = values.shape
    part = (0, share[0] * height, width, share[1] * height)
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR, box=part))


# ---------------------------------------------------------------- colours


def cut_out(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """RGBA. Where the subject covers a pixel wholly it is the picture's own; where it does so in part, without the ground's colour.

    Forte and Pitié, "Approximate fast foreground colour estimation", one blur. Where nothing of the subject is, black.
    """
    result = picture.convert("RGBA")
    result.putalpha(alpha)
    for left, top, right, bottom in tiles(picture.size):
        covered = np.asarray(alpha.crop((left, top, right, bottom)))
        if (covered == 255).all():
            continue
        around = (
            max(0, left - COLOUR_RADIUS), max(0, top - COLOUR_RADIUS),
            min(picture.width, right + COLOUR_RADIUS), min(picture.height, bottom + COLOUR_RADIUS),
        )  # fmt: skip
        inner = slice(top - around[1], bottom - around[1]), slice(left - around[0], right - around[0])
        pixels = np.asarray(picture.crop(around), np.float32)
        found = foreground(pixels, np.asarray(alpha.crop(around), np.float32) / 255)[inner]
        own = pixels[inner]
        colours = np.where((covered == 255)[..., None], own, np.where((covered == 0)[..., None], 0, found))
        tile = np.dstack([np.round(colours).astype(np.uint8), covered])
        result.paste(Image.fromarray(tile, "RGBA"), (left, top))
    return result


def foreground(pixels: Array, alpha: Array) -> Array:
    """(h, w, 3) of 0..255: the subject's colours."""
    size = (2 * COLOUR_RADIUS + 1, 2 * COLOUR_RADIUS + 1)
    share = alpha[..., None]
    inside, outside = cv2.blur(alpha, size)[..., None], cv2.blur(1 - alpha, size)[..., None]
    subject = cv2.blur(pixels * share, size) / (inside + 1e-5)
    ground = cv2.blur(pixels * (1 - share), size) / (outside + 1e-5)
    found: Array = np.clip(subject + share * (pixels - share * subject - (1 - share) * ground), 0, 255)
    return found


def tiles(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right, bottom."""
    width, height = size
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield left, top, min(width, left + TILE), min(height, top + TILE)


def bounds_of(alpha: Image.Image) -> tuple[int, int, int, int] | None:
    """Of what is more than half covered: left, top, right, bottom; None where nothing is."""
    return alpha.point(lambda value: 255 if value > 127 else 0).getbbox()


def coverage_of(alpha: Image.Image) -> float:
    """The subject's share of the picture."""
    histogram = alpha.histogram()
    return sum(level * count for level, count in enumerate(histogram)) / (255 * alpha.width * alpha.height)
