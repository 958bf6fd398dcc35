"""Composition: what stands out, how clearly, and how the parts are arranged."""

from collections.abc import Sequence

import cv2
import numpy as np

from api.scoring.backends.balance import AreaBox
from api.scoring.backends.page import Floats, Page

THIRDS = tuple((x, y) for x in (1 / 3, 2 / 3) for y in (1 / 3, 2 / 3))
FARTHEST = float(np.hypot(1 / 3, 1 / 3))  # from a corner to the nearest crossing, in shares of the frame
LEVELS = 7


def salient_places(saliency: Floats) -> list[tuple[float, float]]:
    """The peak and the centroid as shares of the frame; the middle for a picture in which nothing stands out."""
    total = float(saliency.sum())
    if total <= 0:
        return [(0.5, 0.5)]
    height, width = saliency.shape
    y, x = np.unravel_index(int(saliency.argmax()), saliency.shape)
    across = float(saliency.sum(axis=0) @ (np.arange(width) + 0.5)) / total / width
    down = float(saliency.sum(axis=1) @ (np.arange(height) + 0.5)) / total / height
    return [((float(x) + 0.5) / width, (float(y) + 0.5) / height), (across, down)]


def thirds_distance(places: Sequence[tuple[float, float]]) -> float:
    """The mean over places of the distance to the nearest of (⅓, ⅔)², over its maximum: 0 on a crossing, 1 in a corner."""
    nearest = [min(float(np.hypot(x - a, y - b)) for a, b in THIRDS) for x, y in places]
    return sum(nearest) / len(nearest) / FARTHEST


def edge_counts(page: Page) -> list[int]:
    """Edge pixels by Canny at rising thresholds: high = 255·0.1·l, low = 0.4·high, l = 1..7, after a blur of σ 2.

    The first, over all pixels, is edge density, a plain measure of clutter (Rosenholtz, Li & Nakano 2007 compare theirs with it).
    """
    smooth = cv2.GaussianBlur(page.gray, (0, 0), 2)
    across, down = (cv2.Sobel(smooth, cv2.CV_16S, dx, dy, borderType=cv2.BORDER_REPLICATE) for dx, dy in ((1, 0), (0, 1)))
    return [
        int(np.count_nonzero(cv2.Canny(across, down, 0.4 * high, high)))
        for high in (25.5 * level for level in range(1, LEVELS + 1))
    ]


def figure_ground_contrast(counts: Sequence[int]) -> float:
    """Miniukovich & De Angeli, "Computation of Interface Aesthetics", CHI 2015, 10.1145/2702123.2702575.

    Σ_{l=1..6} (E_l−E_{l+1})(1−(l−1)/6) / (E_1−E_7), 0/0 := 0. Near 1 nearly all edges are faint, near 0 they are strong.
    """
    span = counts[0] - counts[-1]
    lost = sum((counts[i] - counts[i + 1]) * (1 - i / (LEVELS - 1)) for i in range(LEVELS - 1))
    return lost / span if span else 0.0


def luminance_sd(page: Page) -> float:
    """The population SD of Rec. 709's weights on gamma-coded RGB, 0-127.5 (Miniukovich & De Angeli 2015)."""
    weights = np.array([[0.2126, 0.7152, 0.0722]], np.float32)
    return float(cv2.meanStdDev(cv2.transform(page.rgb.astype(np.float32), weights))[1][0, 0])


def alignment(boxes: Sequence[AreaBox], width: float, height: float) -> float:
    """LayoutGAN++ (Kikuchi et al., ACM Multimedia 2021): the mean over boxes of −ln(1−d).

    d: the least distance, in shares of the frame, of any of the 6 anchors (left, centre, right, top, middle, bottom) to another
    box's same anchor. 0 for fewer than two boxes.
    """
    if len(boxes) < 2:
        return 0.0
    table = np.array(boxes, dtype=np.float64) / [width, height, width, height]
    start, size = table[:, :2], table[:, 2:]
    anchors = np.concatenate([start, start + size / 2, start + size], axis=1)  # (n, 6)
    apart = np.abs(anchors[:, None] - anchors[None]).min(axis=2)
    np.fill_diagonal(apart, np.inf)
    return abs(float(np.log1p(-np.minimum(apart.min(axis=1), 0.999)).mean()))


def off_lines(boxes: Sequence[AreaBox], width: float) -> float:
    """How far the boxes stand off common vertical lines: the mean of d / (d + 1 %), 0 where each shares a line, 1 at the most.

    d: the least distance, in shares of the width, of a box's left edge, middle or right edge to another box's same line, to the
    page's own, or to another's mirrored margin. Unlike `alignment`, levels don't count: something is always at some level.
    """
    if len(boxes) < 2:
        return 0.0
    table = np.array(boxes, dtype=np.float64) / width
    left, right = table[:, 0], table[:, 0] + table[:, 2]
    middle = (left + right) / 2
    pairs = ((left, left), (middle, middle), (right, right), (left, 1 - right), (1 - right, left))
    apart = np.min([np.abs(one[:, None] - other[None]) for one, other in pairs], axis=0)
    np.fill_diagonal(apart, np.inf)
    page = np.minimum(np.minimum(np.abs(left), np.abs(1 - right)), np.abs(middle - 0.5))
    nearest = np.minimum(apart.min(axis=1), page)
    return float((nearest / (nearest + 0.01)).mean())


def overlap(boxes: Sequence[AreaBox]) -> float:
    """The mean over boxes of Σ_{j≠i} area(i∩j) / area(i)."""
    if len(boxes) < 2:
        return 0.0
    table = np.array(boxes, dtype=np.float64)
    start, end = table[:, :2], table[:, :2] + table[:, 2:]
    shared = np.minimum(end[:, None], end[None]) - np.maximum(start[:, None], start[None])
    areas = np.clip(shared, 0, None).prod(axis=2)
    np.fill_diagonal(areas, 0)
    return float((areas.sum(axis=1) / (table[:, 2] * table[:, 3])).mean())


def white_space(boxes: Sequence[AreaBox], width: int, height: int) -> float:
    """1 − union of the boxes / frame, drawn to the pixel."""
    taken = np.zeros((height, width), np.uint8)
    for x, y, w, h in boxes:
        taken[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))] = 1
    return 1 - float(taken.mean())
