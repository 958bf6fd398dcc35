"""Charts as numbers for inline SVG (templates/admin/dashboard/): geometry only, colours are the stylesheet's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from api.jobs.admin.tools import seconds_text
from api.jobs.states import Status

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 620, 230, 44, 18, 28, 16
STACK = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.RUNNING, Status.QUEUED)


@dataclass(frozen=True)
class Day:
    date: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class RunTime:
    """Seconds from claim to end over a model's latest jobs that succeeded."""

    model_id: str
    runs: int
    median: float
    p90: float


@dataclass(frozen=True)
class Bar:
    state: str
    x: float
    y: float
    width: float
    height: float
    title: str


def nice_ceiling(value: float) -> float:
    """The least of 1, 2, 5 × 10ⁿ that is not below `value`, and 1 at least: a scale's end that people can divide."""
    if value <= 1:
        return 1
    magnitude = 10 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value)


def days_chart(days: Sequence[Day]) -> dict[str, object]:
    """Stacked columns, a day each."""
    top = nice_ceiling(max((day.total for day in days), default=0))
    slot = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    scale = (HEIGHT - BOTTOM - TOP) / top
    bars, labels = [], []
    for place, day in enumerate(days):
        x, y = LEFT + place * slot, float(HEIGHT - BOTTOM)
        for state in STACK:
            if count := day.counts.get(state, 0):
                height = count * scale
                y -= height
                title = f"{day.date:%Y-%m-%d}: {count:,} {state}"
                bars.append(Bar(state, round(x + slot * 0.14, 1), round(y, 2), round(slot * 0.72, 1), round(height, 2), title))
        labels.append({"x": round(x + slot / 2, 1), "text": f"{day.date:%m-%d}", "shown": (len(days) - 1 - place) % 3 == 0})
    marks = [mark for mark in (0, top / 2, top) if mark == int(mark)]  # there is no half job
    lines = [{"y": round(HEIGHT - BOTTOM - mark * scale, 1), "text": count_text(mark)} for mark in marks]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "baseline": HEIGHT - 6,
        "bars": bars,
        "labels": labels,
        "lines": lines,
        "legend": [(state, sum(day.counts.get(state, 0) for day in days)) for state in STACK],
        "rows": [(f"{day.date:%Y-%m-%d}", [day.counts.get(state, 0) for state in STACK]) for day in reversed(days)],
        "states": list(STACK),
        "total": sum(day.total for day in days),
    }


def count_text(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def run_times_chart(rows: Sequence[RunTime]) -> list[dict[str, object]]:
    """A bar to the median and a line on to the ninth decile, in per cent of the longest; the words are HTML, which wraps on a phone."""
    longest = max((row.p90 for row in rows), default=0) or 1.0
    return [
        {
            "model_id": row.model_id,
            "median_width": round(max(100 * row.median / longest, 0.3), 2),
            "p90_width": round(100 * row.p90 / longest, 2),
            "median": seconds_text(row.median),
            "p90": seconds_text(row.p90),
            "runs": row.runs,
        }
        for row in rows
    ]
