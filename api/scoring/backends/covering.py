"""Whether elements cover each other, told from the pixels: writing over writing, or across the edge of a picture or a button.

A line of Latin type has three strokes above each other at most (an E, an e), and 1.6 on average: more are two lines in one. And the
ground around a panel is free: letters right outside its edge run into it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.scoring.backends.blocks import Box, Found, Mask

MOST_LINES = 40
SHORTEST, LOWEST = 40, 7  # px: shorter lines and lower bands have too few strokes to count
CLEAN, SPREAD = 1.6, 0.4  # strokes above each other in clean type on average, and by how many more is bad
TALLEST, CROSSED = 3, 0.06  # the most of them in clean type, and the share of columns with more that is bad
FAINT = 12  # grey levels
RIM = 1.15  # strokes above each other on average; type has 1.3 or more
NEAREST = 5  # px between writing and a panel
LEAST_CROSSINGS = 10  # along its edge, two for each stroke


Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Covering:
    """`value`: 0 for clean type, from about 0.7 on something covers something. `explanation`: the evidence, in words."""

    value: float
    explanation: str


def find_covering(gray: Mask, found: Found) -> Covering | None:
    """None where nothing is written."""
    widest = sorted((line for line in found.lines if line[2] > SHORTEST), key=lambda line: -line[2] * line[3])[:MOST_LINES]
    counts = [count for line in widest for count in strokes(gray, line)]
    mean = max((float(count.mean()) for count in counts), default=0.0)
    crossed = max((float((count > TALLEST).mean()) for count in counts), default=0.0)
    near = ((touching(panel, line), line) for panel in found.panels for line in found.scraps)
    touched = max((along for along, line in near if along and not is_rim(gray, line)), default=0)
    evidence = []
    if counts:
        said = f"a line has {mean:.2f} strokes above each other on average, clean type has {CLEAN}"
        evidence.append(Covering(max(0.0, (mean - CLEAN) / SPREAD), said))
    if crossed:
        said = f"in {100 * crossed:.0f} % of a line there are more than {TALLEST} strokes above each other"
        evidence.append(Covering(crossed / CROSSED, said))
    if found.crossed >= LEAST_CROSSINGS:
        said = f"writing runs into a picture or a button, with about {found.crossed // 2} strokes across its edge"
        evidence.append(Covering(1 + found.crossed / 20, said))
    if touched:
        evidence.append(Covering(1 + touched / 100, f"writing runs into a picture or a button, along {touched} pixels"))
    return max(evidence, key=lambda found: found.value, default=None)


def strokes(gray: Mask, line: Box) -> list[Counts]:
    """Of each band between free rows, the number of strokes above each other in each column that has any."""
    x, y, w, h = line
    around = gray[max(0, y - 2) : y + h + 2, max(0, x - 2) : x + w + 2].astype(np.int16)
    ground = np.median(np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]]))
    apart = np.abs(around - ground)
    strongest = float(np.percentile(apart, 98))
    if strongest < FAINT:
        return []
    ink = apart > 0.45 * strongest
    rows = ink.mean(axis=1)
    bands = [ink[start:end] for start, end in runs(rows > 0.06 * rows.max()) if end - start >= LOWEST]
    counted = (np.count_nonzero(band & ~np.pad(band, ((1, 0), (0, 0)))[:-1], axis=0) for band in bands)
    return [inked for counts in counted if len(inked := counts[counts > 0]) >= SHORTEST // 2]


def is_rim(gray: Mask, line: Box) -> bool:
    """Whether it is the rim of a picture that fades into its ground: all along it there is but one stroke."""
    counts = strokes(gray, line)
    return bool(counts) and max(float(count.mean()) for count in counts) < RIM


def runs(on: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    steps = np.diff(np.concatenate([[0], on.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))


def touching(panel: Box, line: Box) -> int:
    """Along how many pixels a line comes nearer to a panel's border than lines do."""
    wide, high = (
        min(panel[axis] + panel[axis + 2], line[axis] + line[axis + 2]) - max(panel[axis], line[axis]) for axis in (0, 1)
    )
    return max(wide, high) if min(wide, high) > -NEAREST else 0
