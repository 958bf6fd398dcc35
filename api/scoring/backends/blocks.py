"""The elements of a page, found in its pixels: paragraphs, buttons, pictures. For clients that name no boxes.

Outlines (steps of grey between neighbours) fall into connected parts. One that runs all along its own bounding box is a panel: a
card where one colour fills it, and then its contents count; a picture otherwise, and what is inside is the picture's. What is left is
writing: letters join into lines, and lines of one height under each other into paragraphs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from api.scoring.backends.ground import NEAR, ground_along

Box = tuple[int, int, int, int]
"""x, y, width, height"""
Mask = NDArray[np.uint8]
Boxes = NDArray[np.int64]
"""(n, 4)"""

EDGE_STEP = 16  # grey levels between neighbours: the outline of something
LEAST_PANEL = (0.06, 0.035)  # of the page's width and height
FILLED, NEARLY_FILLED = (
    0.9,
    0.83,
)  # of its bounding box, what a panel fills; and with what sticks out of it (of a disc it is 0.79)
ACROSS = 0.45  # of the page's width or height, what the edge of a full-bleed picture is at least
MOST_EDGES = 6
SMOOTH = 3.0
PLAIN, BEYOND = 0.45, 0.35  # of a page's half, what is of its ground at least; and of the other half at most
FLAT = 0.8  # of a half that may as well be a panel: then the larger one is the ground
LEAST_GROUND = 0.25
BESIDE, AWAY, LETTER, BROAD = 8, 4, 9, 15  # px
FAINT = 64  # grey levels
OUTSIDE = 3  # px
ONE_COLOUR = 0.45  # of a card's inside
MOST_PARTS, MOST_BLOCKS = 400, 60
LEAST_AREA, LEAST_FIGURE = 0.0002, 0.015  # of the page
TALLEST_SCRAP = 0.1
LEAST_CHANGES = 8  # along a row of outline, which has two sides of each stroke


@dataclass(frozen=True)
class Block:
    """`kind`: text, panel (a button, say) or image."""

    kind: str
    box: Box


@dataclass(frozen=True)
class Found:
    """`blocks`: the largest first; `lines`: of the writing; `scraps`: these and what may be the visible part of one; `panels`:
    what is a rectangle of its own; `crossed`: the most changes between outline and none right outside a side of one of them."""

    blocks: list[Block]
    lines: list[Box]
    scraps: list[Box]
    panels: tuple[Box, ...]
    crossed: int


def find_blocks(gray: Mask, rgb: Mask) -> Found:
    steps = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, square(3))
    outline = np.asarray(cv2.threshold(steps, EDGE_STEP, 255, cv2.THRESH_BINARY)[1], np.uint8)
    beside = halves(outline, rgb)
    apart = from_ground(rgb, next((half for half, _ in beside), (0, 0, gray.shape[1], gray.shape[0])))
    panels = find_panels([other for _, other in beside], outline, apart, rgb)
    shown, cards = ([panel for panel in panels if (panel.kind == "card") == is_card] for is_card in (False, True))
    rest = without_pattern(outline, apart)
    for x, y, w, h in (panel.box for panel in shown):
        rest[max(0, y - 2) : y + h + 2, max(0, x - 2) : x + w + 2] = 0
    for x, y, w, h in (card.box for card in cards):
        cv2.rectangle(rest, (x, y), (x + w - 1, y + h - 1), 0, 7)
    groups = lines(rest)
    changes = np.array([changes_along(rest, line) for line in groups], int)
    written = changes >= LEAST_CHANGES
    texts = [Block("text", box) for box in as_boxes(paragraphs(groups[written]))]
    figures = [Block("image", box) for box in as_boxes(groups[~written]) if area(box) >= LEAST_FIGURE * gray.size]
    empty = [
        Block("panel", card.box)
        for card in cards
        if not any(lies_in(block.box, card.box) for block in [*shown, *figures, *texts])
    ]
    kept = (block for block in outermost([*shown, *figures, *empty]) + texts if area(block.box) >= LEAST_AREA * gray.size)
    blocks = sorted(kept, key=lambda block: (-area(block.box), block.box))[:MOST_BLOCKS]
    scraps = groups[(changes >= LEAST_CHANGES // 2) & (groups[:, 3] < TALLEST_SCRAP * gray.shape[0])]
    crossed = max((crossings(outline, panel.box) for panel in shown), default=0)
    return Found(blocks, as_boxes(groups[written]), as_boxes(scraps), tuple(panel.box for panel in shown), crossed)


def from_ground(rgb: Mask, box: Box) -> Mask:
    """Each pixel's distance from the ground of a box, in grey levels; 0 everywhere where it has none to speak of."""
    ground = ground_along(rgb, box)
    return ground.apart(rgb) if ground.share(rgb, box) > LEAST_GROUND else np.zeros(rgb.shape[:2], np.uint8)


def find_panels(beside: Sequence[Box], outline: Mask, apart: Mask, rgb: Mask) -> list[Block]:
    """Cards, panels and images; none in an image or a panel. `beside`: what fills the page beside its ground."""
    panels: list[Block] = []
    for box in [*beside, *rectangles(outline, apart)]:
        if not any(lies_in(box, panel.box) for panel in panels if panel.kind != "card"):
            panels.append(Block(kind_of(box, rgb), box))
    return panels


def without_pattern(outline: Mask, apart: Mask) -> Mask:
    """Broad shapes that are faintly printed on the ground are part of it: their outlines are taken off."""
    broad = cv2.morphologyEx(np.asarray(cv2.inRange(apart, NEAR + 1, FAINT), np.uint8), cv2.MORPH_OPEN, square(BROAD))
    around = cv2.morphologyEx(broad, cv2.MORPH_GRADIENT, square(7))
    faint = cv2.inRange(cv2.dilate(apart, square(3)), 0, FAINT)
    return np.asarray(cv2.bitwise_and(outline, cv2.bitwise_not(cv2.bitwise_and(around, faint))), np.uint8)


def square(side: int) -> Mask:
    return np.ones((side, side), np.uint8)


def area(box: Box) -> int:
    return box[2] * box[3]


def crossings(outline: Mask, panel: Box) -> int:
    """Between outline and none, along the line right outside the side of a panel where they are most: strokes that cross it."""
    x, y, w, h = panel
    sides = (outline[row, x : x + w] for row in (y - OUTSIDE, y + h + OUTSIDE - 1) if 0 <= row < outline.shape[0])
    return max((int(np.count_nonzero(side[1:] != side[:-1])) for side in sides), default=0)


def as_boxes(table: Boxes) -> list[Box]:
    return [(int(x), int(y), int(w), int(h)) for x, y, w, h in table]


def changes_along(outline: Mask, line: Boxes) -> int:
    """How often rows change between outline and none; seven in ten do so no more. A star or a window does a few times."""
    x, y, w, h = line
    part = outline[y : y + h, x : x + w]
    changes = np.count_nonzero(part[:, 1:] != part[:, :-1], axis=1)
    return int(np.sort(changes)[int(0.7 * (h - 1))])


# ---------------------------------------------------------------- panels


def halves(outline: Mask, rgb: Mask) -> list[tuple[Box, Box]]:
    """The page's ground and what fills the page beside it, where an edge runs straight across; [] where none does."""
    height, width = outline.shape
    found: list[tuple[float, Box, Box]] = []
    for axis, length in ((1, height), (0, width)):
        turned = rgb if axis == 1 else rgb.transpose(1, 0, 2)
        for place in edges_of(cv2.reduce(outline, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() / 255, length):
            first = (0, 0, width, place) if axis == 1 else (0, 0, place, height)
            second = (0, place, width, height - place) if axis == 1 else (place, 0, width - place, height)
            if crosses(turned, place):
                pairs = ((first, second), (second, first))
                found += [(share, half, other) for half, other in pairs if (share := as_ground(rgb, half, other))]
    return [max(found)[1:]] if found else []


def as_ground(rgb: Mask, half: Box, other: Box) -> float:
    """How much of a half is of its ground; 0 where that goes on in the other half, or the other one is rather the ground."""
    ground, rival = ground_along(rgb, half), ground_along(rgb, other).share(rgb, other)
    share = ground.share(rgb, half)
    if share < PLAIN or ground.share(rgb, other) > BEYOND:
        return 0.0
    mine = area(half) >= area(other) if min(share, rival) > FLAT else share > rival
    return share if mine else 0.0


def crosses(rgb: Mask, row: int) -> bool:
    """Whether the page's colour changes at this row, beside both its edges."""
    for end in (rgb[:, :BESIDE], rgb[:, -BESIDE:]):
        above, below = end[row - AWAY - BESIDE : row - AWAY], end[row + AWAY : row + AWAY + BESIDE]
        if np.abs(np.median(above, axis=(0, 1)) - np.median(below, axis=(0, 1))).max() <= NEAR:
            return False
    return True


def edges_of(covered: NDArray[np.float64], length: int) -> list[int]:
    """The places of the longest edges, away from the page's own: the last row or column of each, whose outline is thick."""
    places = np.flatnonzero(covered > ACROSS)
    last = places[np.diff(places, append=-9) != 1]
    margin = max(0.2 * length, AWAY + BESIDE)
    inner = last[(last > margin) & (last < length - margin)]
    return [int(place) for place in inner[np.argsort(-covered[inner], kind="stable")][:MOST_EDGES]]


def rectangles(outline: Mask, apart: Mask) -> list[Box]:
    """What fills its bounding box once what is thin is taken off it, outermost first: inside a closed outline, or apart from the ground."""
    height, width = outline.shape
    closed = cv2.morphologyEx(outline, cv2.MORPH_CLOSE, square(3))
    inside, _ = cv2.findContours(closed, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    others = cv2.morphologyEx(np.asarray(cv2.inRange(apart, NEAR + 1, 255), np.uint8), cv2.MORPH_OPEN, square(LETTER))
    outside, _ = cv2.findContours(others, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    shapes = (*inside, *outside)
    least = (LEAST_PANEL[0] * width, LEAST_PANEL[1] * height)
    found = set()
    for shape in shapes:
        x, y, w, h = cv2.boundingRect(shape)
        if w < least[0] or h < least[1] or w * h > 0.93 * width * height or cv2.contourArea(shape) < NEARLY_FILLED * w * h:
            continue
        box, filled = trimmed(np.asarray(shape, np.int32), (x, y, w, h))
        if filled > FILLED:
            found.add(box)
    return sorted(found, key=lambda box: -area(box))


def trimmed(shape: NDArray[np.int32], box: Box) -> tuple[Box, float]:
    """Without what sticks out of the panel: letters that lie across its border. And how much of that box is filled."""
    x, y, w, h = box
    mask = np.zeros((h, w), np.uint8)
    cv2.drawContours(mask, [shape - np.array([x, y])], -1, 1, -1)
    rows = np.flatnonzero(mask.mean(axis=1) > 0.8)
    columns = np.flatnonzero(mask.mean(axis=0) > 0.8)
    if not len(rows) or not len(columns):
        return box, float(mask.mean())
    kept = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return (x + int(columns[0]), y + int(rows[0]), kept.shape[1], kept.shape[0]), float(kept.mean())


def outermost(panels: Sequence[Block]) -> list[Block]:
    """Without those that lie in another one; the largest come first."""
    kept: list[Block] = []
    for panel in panels:
        if not any(lies_in(panel.box, other.box) for other in kept):
            kept.append(panel)
    return kept


def lies_in(inner: Box, outer: Box) -> bool:
    (x, y, w, h), (a, b, c, d) = inner, outer
    return a - 2 <= x and b - 2 <= y and x + w <= a + c + 2 and y + h <= b + d + 2


def kind_of(box: Box, rgb: Mask) -> str:
    """card (its contents count), panel or image."""
    x, y, w, h = box
    inside = rgb[y + 3 : y + h - 3, x + 3 : x + w - 3].reshape(-1, 3)[:: max(1, w * h // 4000)].astype(np.int32)
    codes = (inside // 4) @ np.array([4096, 64, 1])
    share = float(np.bincount(np.unique(codes, return_inverse=True)[1]).max() / max(1, len(codes))) if len(codes) else 0.0
    if share < ONE_COLOUR and roughness(box, rgb) > SMOOTH:
        return "image"
    return "card" if h > 0.14 * rgb.shape[0] else "panel"


def roughness(box: Box, rgb: Mask) -> float:
    """The distance from the best plane through its colours, in grey levels, that 70 % stay within: little for a gradient with text."""
    x, y, w, h = box
    step = max(1, int(np.sqrt(w * h / 1500)))
    part = rgb[y : y + h : step, x : x + w : step].astype(np.float32)
    flat = part - part.mean(axis=(0, 1))
    for axis in (0, 1):  # rows and columns of a grid are orthogonal, so that each slope is found by itself
        place = np.arange(part.shape[axis], dtype=np.float32) - (part.shape[axis] - 1) / 2
        place = place.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        slope = (flat * place).mean(axis=(0, 1)) / max(float((place**2).mean()), 1e-6)
        flat = flat - slope * place
    return float(np.quantile(np.abs(flat).max(axis=2), 0.7))


# ---------------------------------------------------------------- writing


def lines(outline: Mask) -> Boxes:
    """Letters that follow each other along a line."""
    height, width = outline.shape
    letters = cv2.morphologyEx(outline, cv2.MORPH_CLOSE, np.ones((2, max(3, width // 90)), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(letters, connectivity=8)
    boxes = stats[1:, :4].astype(np.int64)
    sized = (boxes[:, 3] > 2) & (boxes[:, 2] > 2) & (boxes[:, 3] < 0.4 * height)
    largest_first = np.argsort(-boxes[sized][:, 2] * boxes[sized][:, 3], kind="stable")
    return joined(boxes[sized][largest_first[:MOST_PARTS]], _follow)


def _follow(a: Boxes, b: Boxes) -> NDArray[np.bool_]:
    """Whether two boxes stand in one line, no more than a letter apart."""
    shared = np.minimum(a[1] + a[3], b[1] + b[3]) - np.maximum(a[1], b[1])
    gap = np.maximum(a[0], b[0]) - np.minimum(a[0] + a[2], b[0] + b[2])
    low, high = np.minimum(a[3], b[3]), np.maximum(a[3], b[3])
    return (shared > 0.5 * low) & (gap < 0.8 * high) & (high < 3 * low)


def paragraphs(boxes: Boxes) -> Boxes:
    return joined(boxes, _below)


def _below(a: Boxes, b: Boxes) -> NDArray[np.bool_]:
    """Whether one line of about the same height stands closely below the other, on the same left edge or middle."""
    low, high = np.minimum(a[3], b[3]), np.maximum(a[3], b[3])
    gap = np.maximum(a[1], b[1]) - np.minimum(a[1] + a[3], b[1] + b[3])
    aligned = (np.abs(a[0] - b[0]) < 0.5 * low) | (np.abs(2 * a[0] + a[2] - 2 * b[0] - b[2]) < low)
    return aligned & (gap > -0.2 * low) & (gap < 0.9 * low) & (high < 1.6 * low)


def joined(boxes: Boxes, belong: Callable[[Boxes, Boxes], NDArray[np.bool_]]) -> Boxes:
    """(n, 4) → (m, 4): union boxes of what belongs together, directly or through others."""
    if not len(boxes):
        return boxes
    near = belong(boxes.T[:, :, None], boxes.T[:, None, :]) | np.eye(len(boxes), dtype=bool)
    group, before = np.arange(len(boxes)), None
    while before is None or not np.array_equal(group, before):
        before = group
        group = np.where(near, group, len(boxes)).min(axis=1)
        group = group[group]
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    names = np.unique(group)
    low = np.array([start[group == name].min(axis=0) for name in names])
    high = np.array([end[group == name].max(axis=0) for name in names])
    return np.concatenate([low, high - low], axis=1)
