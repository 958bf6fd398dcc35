"""Where in a picture there can be text. No torch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

FLAT = 8
"""Levels of 255 by which the pixels of a row or column of the margin may differ: fainter letters are not found anyway."""
CONTEXT = 32
"""Pixels of the margin that stay: the network looks at what is around a line."""
STRIDE = 32
"""Of the network: a picture of other sides is resized to a multiple of it, and one that begins elsewhere gives other boxes."""


def without_margins(picture: Picture) -> tuple[slice, slice]:
    """Rows and columns of what is inside flat margins; none of a blank picture.

    Finding lines takes as long as the picture is large, and the margins of a page or a screenshot hold none.
    """
    rows, columns = (inside(range_along(picture, axis)) for axis in (1, 0))
    if rows.start == rows.stop or columns.start == columns.stop:
        return slice(0, 0), slice(0, 0)
    return rows, columns


def range_along(picture: Picture, axis: int) -> NDArray[np.uint8]:
    """The largest difference of a channel within each row (axis 1) or column (axis 0)."""
    highest, lowest = (cv2.reduce(picture, axis, kind) for kind in (cv2.REDUCE_MAX, cv2.REDUCE_MIN))
    return (highest - lowest).max(axis=2).ravel()  # type: ignore[no-any-return]


def inside(ranges: NDArray[np.uint8]) -> slice:
    """From the first to the last that is not flat, with CONTEXT on both sides, on the network's grid of the whole picture."""
    found = np.flatnonzero(ranges > FLAT)
    if not len(found):
        return slice(0, 0)
    start = max(0, int(found[0]) - CONTEXT) // STRIDE * STRIDE
    stop = -(-(int(found[-1]) + 1 + CONTEXT) // STRIDE) * STRIDE
    return slice(start, min(len(ranges), stop))
