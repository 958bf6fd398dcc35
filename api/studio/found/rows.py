"""What was found in a picture: a row of a list, and the shape that is drawn over the picture for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import atan2, degrees, hypot

LARGEST_AREA = 10**12


@dataclass(frozen=True)
class Row:
    """One thing, line or cell. `corners`: of its outline, in pixels of the picture, from the upper left one clockwise."""

    text: str
    kind: str
    """What it is counted under."""
    score: float
    corners: Sequence[Sequence[float]]
    place: str = ""

    @property
    def percent(self) -> int:
        return round(100 * self.score)

    @property
    def points(self) -> str:
        """As an SVG polygon has them."""
        return " ".join(f"{x},{y}" for x, y in self.corners)

    @property
    def hue(self) -> int:
        """The same for the same word."""
        found = 11
        for letter in self.kind:
            found = (found * 33 + ord(letter)) % 360
        return found

    @property
    def left(self) -> float:
        return min(x for x, _ in self.corners)

    @property
    def top(self) -> float:
        return min(y for _, y in self.corners)

    @property
    def depth(self) -> float:
        """What is large lies under what is small."""
        (left, top), _, (right, bottom), *_ = self.corners
        return LARGEST_AREA - abs((right - left) * (bottom - top))

    @cached_property
    def words(self) -> "Words":
        return lay(self.corners)


@dataclass(frozen=True)
class Words:
    """Where the letters of a line lie: unseen over the line itself, so that they can be marked there."""

    transform: str
    width: str
    size: str
    rise: str


def lay(corners: Sequence[Sequence[float]]) -> Words:
    start, end, _, below = corners
    across, down = hypot(end[0] - start[0], end[1] - start[1]), hypot(below[0] - start[0], below[1] - start[1])
    turn = degrees(atan2(end[1] - start[1], end[0] - start[0]))
    transform = f"translate({below[0]} {below[1]}) rotate({turn:.2f})"
    return Words(transform, f"{across:.2f}", f"{0.8 * down:.2f}", f"{-0.22 * down:.2f}")


def outline(box: Mapping[str, float]) -> Sequence[Sequence[float]]:
    left, top, right, bottom = (box[side] for side in ("xmin", "ymin", "xmax", "ymax"))
    return ((left, top), (right, top), (right, bottom), (left, bottom))
