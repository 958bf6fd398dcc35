"""Balance: where the weight of a page lies, of its pixels and of its boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from api.scoring.backends.page import Floats

AreaBox = tuple[float, float, float, float]
"""x, y, width, height, in the frame's units"""


@dataclass(frozen=True)
class Mass:
    """`x`, `y`: the centre of mass, in shares of the frame. `left`, `top`: shares of the weight; a middle line counts half."""

    x: float
    y: float
    left: float
    top: float
    symmetry: float

    @property
    def closeness(self) -> float:
        """1 − hypot((cx−W/2)/(W/2), (cy−H/2)/(H/2))/√2: 1 in the middle, 0 in a corner."""
        return 1 - float(np.hypot(2 * self.x - 1, 2 * self.y - 1) / np.sqrt(2))

    @property
    def left_right(self) -> float:
        """|ΣV_L − ΣV_R| / ΣV"""
        return abs(2 * self.left - 1)

    @property
    def top_bottom(self) -> float:
        return abs(2 * self.top - 1)


def find_mass(weight: Floats) -> Mass:
    """Of a weight map (H, W) ≥ 0. An empty page (ΣV = 0) is in balance: its centre of mass is the middle, it is symmetric.

    Mirror symmetry is the better of both axes' 1 − Σ|V−flip(V)| / (2ΣV).
    """
    total = float(weight.sum(dtype=np.float64))
    if total <= 0:
        return Mass(0.5, 0.5, 0.5, 0.5, 1.0)
    columns, rows = weight.sum(axis=0, dtype=np.float64) / total, weight.sum(axis=1, dtype=np.float64) / total
    unlike = min(float(np.abs(weight - flipped).sum(dtype=np.float64)) for flipped in (weight[:, ::-1], weight[::-1]))
    return Mass(center(columns), center(rows), first_half(columns), first_half(rows), 1 - unlike / (2 * total))


def center(profile: Floats) -> float:
    """The mean place of a profile that sums to 1, 0-1 from edge to edge."""
    return float(profile @ (np.arange(len(profile)) + 0.5) / len(profile))


def first_half(profile: Floats) -> float:
    half = len(profile) // 2
    middle = profile[half] / 2 if len(profile) % 2 else 0.0
    return float(profile[:half].sum() + middle)


# ---------------------------------------------------------------- boxes: Ngo, Teo & Byrne 2003, Information Sciences 152:25-46


def ngo_balance(boxes: Sequence[AreaBox], width: float, height: float) -> float:
    """BM = 1 − (|B_v| + |B_h|)/2; B = (w_1 − w_2)/max(w_1, w_2) of two sides, w = Σ area · distance to the centre line."""
    areas, x, y = arrange(boxes, width, height)
    return 1 - (abs(lean(areas, x)) + abs(lean(areas, y))) / 2


def lean(areas: Floats, offset: Floats) -> float:
    first = float((areas * np.maximum(-offset, 0)).sum())
    second = float((areas * np.maximum(offset, 0)).sum())
    heavier = max(first, second)
    return (first - second) / heavier if heavier else 0.0


def ngo_equilibrium(boxes: Sequence[AreaBox], width: float, height: float) -> float:
    """1 − (|x| + |y|)/2, x = 2Σa(x−x_c) / (WΣa): without Ngo's 1/n, which makes it insensitive."""
    areas, x, y = arrange(boxes, width, height)
    total = float(areas.sum())
    if not total:
        return 1.0
    return 1 - (abs(2 * float(areas @ x) / (width * total)) + abs(2 * float(areas @ y) / (height * total))) / 2


def ngo_density(boxes: Sequence[AreaBox], width: float, height: float) -> float:
    """DM = 1 − 2·|0.5 − Σa/frame|; boxes that cover more than the frame count as a full one."""
    covered = sum(box[2] * box[3] for box in boxes) / (width * height)
    return 1 - 2 * abs(0.5 - min(covered, 1.0))


def arrange(boxes: Sequence[AreaBox], width: float, height: float) -> tuple[Floats, Floats, Floats]:
    """Areas, and the centres' distances to the frame's centre lines."""
    table = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    areas = table[:, 2] * table[:, 3]
    return areas, table[:, 0] + table[:, 2] / 2 - width / 2, table[:, 1] + table[:, 3] / 2 - height / 2
