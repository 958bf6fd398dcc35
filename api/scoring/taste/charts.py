"""A scorer's learning curve as numbers for inline SVG: geometry only, colours are the stylesheet's."""

from collections.abc import Sequence
from typing import TypedDict

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 620, 240, 72, 18, 14, 44
LINES = (0.4, 0.6, 0.8, 1.0)


class Figure(TypedDict):
    """A share or a correlation with its interval, as a scorer's `figures` have it."""

    value: float | None
    low: float
    high: float


class CurvePoint(TypedDict):
    judgements: int
    pair_accuracy: Figure


def curve_chart(curve: Sequence[CurvePoint]) -> dict[str, object]:
    """Pair accuracy by the number of judgements that were learned from, with its interval as a band; chance is a line of its own."""
    points = [point for point in curve if point["pair_accuracy"]["value"] is not None]
    lowest = min([LINES[0], *(point["pair_accuracy"]["low"] for point in points)])
    most = max((point["judgements"] for point in points), default=1) or 1

    def x(judgements: float) -> float:
        return round(LEFT + judgements / most * (WIDTH - LEFT - RIGHT), 1)

    def y(share: float) -> float:
        return round(TOP + (1 - share) / (1 - lowest) * (HEIGHT - TOP - BOTTOM), 1)

    seen = [(x(point["judgements"]), point["judgements"], point["pair_accuracy"]) for point in points]
    band = [(left, y(figure["high"])) for left, _, figure in seen] + [
        (left, y(figure["low"])) for left, _, figure in reversed(seen)
    ]
    levels = [y(value) for _, _, figure in seen if (value := figure["value"]) is not None]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "middle": (LEFT + WIDTH - RIGHT) / 2,
        "baseline": HEIGHT - BOTTOM + 18,
        "caption": HEIGHT - 6,
        "lines": [{"y": y(share), "text": f"{100 * share:.0f} %"} for share in LINES],
        "chance": y(0.5),
        "band": " ".join(f"{left},{level}" for left, level in band),
        "line": " ".join(f"{left},{level}" for (left, _, _), level in zip(seen, levels, strict=True)),
        "points": [
            {"x": left, "y": level, "judgements": count, "text": share_text(figure)}
            for (left, count, figure), level in zip(seen, levels, strict=True)
        ],
    }


def share_text(figure: Figure) -> str:
    """81 % (70 to 89)."""
    if figure["value"] is None:
        return "–"
    return f"{100 * figure['value']:.0f} % ({100 * figure['low']:.0f} to {100 * figure['high']:.0f})"


def correlation_text(figure: Figure) -> str:
    return "–" if figure["value"] is None else f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"
