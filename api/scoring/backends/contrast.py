"""How well text can be read: WCAG 2.2's contrast ratio, of text that is found in a page, and what is asked of it."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from api.scoring.backends.page import LINEAR, Box, Page

RGB = tuple[int, int, int]
MOST_TEXT = 40
TWO_TONED = 0.7  # of a box's variance, what two levels explain: text, not a photograph
LEAST_CHANGES = 5
LARGE_TEXT = 0.045  # of the page's height: 24 px of a 540 px poster
AA = {False: 4.5, True: 3.0}
"""WCAG 2.2's need by whether text is large."""
KNOTS = ((1.0, 0.0), (2.0, 15.0), (3.0, 40.0), (4.5, 75.0), (7.0, 100.0))
"""From a ratio to a score, of text that is not large."""


def relative_luminance(color: RGB) -> float:
    return float(np.dot(LINEAR.astype(np.float64)[list(color)], [0.2126, 0.7152, 0.0722]))


def contrast_ratio(first: float, second: float) -> float:
    """Of two relative luminances, 1-21."""
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def text_contrasts(page: Page, boxes: Sequence[Box]) -> list[tuple[Box, float]]:
    """Of those boxes that hold text on a plain ground, the contrast of the one with the other."""
    tall = 0.4 * page.height
    lines = [box for box in boxes if 5 <= box[3] <= tall and box[2] >= 8][:MOST_TEXT]
    measured = ((box, read_box(page, box)) for box in lines)
    return [(box, ratio) for box, ratio in measured if ratio is not None]


def read_box(page: Page, box: Box) -> float | None:
    """None for what is not two-toned. Text's tone is its tenth that differs most: thin strokes are mixed with their ground."""
    x, y, w, h = box
    gray, light = page.gray[y : y + h, x : x + w], page.luminance[y : y + h, x : x + w]
    _, bright = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    share = cv2.countNonZero(bright) / bright.size
    total = float(cv2.meanStdDev(gray)[1][0, 0]) ** 2
    if not total or not 0 < share < 1 or not is_written(np.asarray(bright, np.uint8)):
        return None
    dark = cv2.bitwise_not(bright)
    between = share * (1 - share) * (cv2.mean(gray, bright)[0] - cv2.mean(gray, dark)[0]) ** 2
    if between < TWO_TONED * total:
        return None
    on_dark = share < 0.5
    ground = float(np.median(light[(dark if on_dark else bright) > 0]))
    text = float(np.percentile(light[(bright if on_dark else dark) > 0], 90 if on_dark else 10))
    return contrast_ratio(text, ground)


def is_written(bright: NDArray[np.uint8]) -> bool:
    """Whether rows change tone as often as a word's do: a disc or a button does so twice."""
    changes = np.count_nonzero(bright[:, 1:] != bright[:, :-1], axis=1)
    return bool(np.percentile(changes, 70) >= LEAST_CHANGES)


def hardest_to_read(found: Sequence[tuple[Box, float]], page_height: int) -> tuple[float, bool]:
    """(ratio, whether it is large) of the text read worst, past the first tenth of all text's area: a speck is not all."""
    ordered = sorted(found, key=lambda item: item[1])
    left = 0.1 * sum(w * h for (_, _, w, h), _ in ordered)
    for (_, _, w, h), ratio in ordered:
        left -= w * h
        if left <= 0:
            return ratio, h >= LARGE_TEXT * page_height
    raise ValueError("There is no text.")
