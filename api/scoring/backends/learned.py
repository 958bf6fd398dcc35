"""What backends that are networks share: how a judgement becomes a measure, a headline score, and words."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from api.scoring.backends.layout import HEADLINES, Verdict
from api.scoring.backends.measures import Measure

SAID = {
    "aesthetic_score": "the whole",
    "composition_score": "composition",
    "color_harmony_score": "colour harmony",
    "balance_score": "balance",
}
WEAK, STRONG = 40.0, 60.0
"""Below and above, a judgement is told; between them the network hardly decides."""
MOST_MERITS = 3


def judged(name: str, group: str, value: float, score: float, *, low: str, high: str, weight: float = 1.0) -> Measure:
    """`low` and `high` are said of a score below WEAK and above STRONG."""
    band = "low" if score < 100 / 3 else "mid" if score < 200 / 3 else "high"
    sentence = low if score < WEAK else high if score > STRONG else ""
    return Measure(name, group, weight, float(value), float(score), band, sentence, score < WEAK)


def preferred(first: NDArray[np.float32], second: NDArray[np.float32], scale: float = 100.0) -> NDArray[np.float64]:
    """softmax(scale · [first, second])[0] of cosines: how much rather the picture fits the first text, 0 to 1."""
    apart = scale * (np.asarray(first, np.float64) - np.asarray(second, np.float64))
    return np.asarray(1 / (1 + np.exp(-np.clip(apart, -500, 500))))


def give_verdict(
    measures: Sequence[Measure],
    scores: dict[str, float],
    *,
    backend: str,
    model: str,
    device: str,
    warnings: Sequence[str] = (),
) -> Verdict:
    """Headline scores that are not in `scores` are null, and the reasons say so."""
    explained = sorted((measure for measure in measures if measure.sentence), key=lambda measure: measure.score)
    faults = [f"{measure.sentence}." for measure in explained if measure.fault]
    merits = [f"{measure.sentence}." for measure in reversed(explained) if not measure.fault][:MOST_MERITS]
    undecided = [] if explained else ["Nothing stands out, neither as a fault nor as a merit."]
    absent = [SAID[name] for name in HEADLINES if name not in scores]
    left_out = [f"{backend} has no scores of their own for {join(absent)}."] if absent else []
    headlines = {name: round(float(scores[name]), 1) if name in scores else None for name in HEADLINES}
    reasons = (*faults, *merits, *undecided, *left_out)
    return Verdict(headlines, tuple(measures), reasons, ("image",), tuple(warnings), model, device)


def join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
