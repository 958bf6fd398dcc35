"""Mean average precision as COCO defines it, except that the area under the curve is taken at all points and not at 101.

All-point interpolation is PASCAL VOC's since 2010 (Everingham et al., doi:10.1007/s11263-014-0733-5, section 4.2): precision at a
recall is the highest at that recall or above. Matching is COCO's (https://cocodataset.org/#detection-eval): detections of a class by
falling score, each to the box of its picture that it overlaps most among those that are free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Boxes:
    """Of one picture: class numbers (n,), corners (n, 4), and of what was found scores (n,)."""

    classes: np.ndarray
    corners: np.ndarray
    scores: np.ndarray


def overlaps(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box with each of the others."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(one[2:] - one[:2])
    return np.asarray(common / (areas - common))


def average_precision(found: Sequence[Boxes], truth: Sequence[Boxes], number: int, iou: float) -> float | None:
    """Of one class at one overlap; None where no picture has it."""
    count = sum(int((picture.classes == number).sum()) for picture in truth)
    if not count:
        return None
    flat = [
        (float(score), index, corners)
        for index, picture in enumerate(found)
        for score, corners in zip(
            picture.scores[picture.classes == number], picture.corners[picture.classes == number], strict=True
        )
    ]
    flat.sort(key=lambda item: -item[0])
    free = [picture.corners[picture.classes == number] for picture in truth]
    right = np.array([_match(free, index, corners, iou) for _, index, corners in flat], bool)
    return _area(right, count)


def _match(free: list[np.ndarray], index: int, corners: np.ndarray, iou: float) -> bool:
    """Whether a free box is overlapped enough; it is taken then."""
    if not len(free[index]):
        return False
    shares = overlaps(corners, free[index])
    best = int(shares.argmax())
    if shares[best] < iou:
        return False
    free[index] = np.delete(free[index], best, axis=0)
    return True


def _area(right: np.ndarray, count: int) -> float:
    true = np.cumsum(right)
    precision = true / np.arange(1, len(right) + 1)
    highest_after = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest_after * right).sum() / count)


def mean_average_precision(
    found: Sequence[Boxes], truth: Sequence[Boxes], names: Sequence[str], iou: float
) -> Mapping[str, float]:
    """By class, of those that are in `truth`; the mean of these is mAP at that overlap."""
    values = {name: average_precision(found, truth, number, iou) for number, name in enumerate(names)}
    return {name: value for name, value in values.items() if value is not None}
