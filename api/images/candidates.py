"""The candidates of a best-of-K as people see them: a sentence, a strip of scores, a table. Geometry only; colours are stylesheets'."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api.images.ranking import WEIGHTED, RankBy, weights_of
from api.jobs.admin.tools import decimal_text
from api.runtime.judge_registry import has_prefix

WIDTH, HEIGHT, MARGIN = 600, 34, 10
SHOWN = {
    "clip_score": gettext_lazy("match"),
    "aesthetic_score": gettext_lazy("looks"),
    "layout_score": gettext_lazy("layout"),
    "objects_score": gettext_lazy("objects"),
}
"""Of a candidate's scores those that have a column, with its heading."""
FACTORS = {"clip_cosine": 100, "objects_score": 100}
"""What scores from 0 to 1 are multiplied by where people see them; the others are from 0 to 100."""
CRITERIA = {
    "clip": gettext_lazy("prompt match"),
    "aesthetic": gettext_lazy("looks"),
    "layout": gettext_lazy("layout"),
    "objects": gettext_lazy("objects found"),
}


class CandidateResult(TypedDict):
    """A candidate in a job's result."""

    seed: int
    rank: int | None
    score: float | None
    scores: dict[str, float | str | list[str] | None]


class Ranking(TypedDict):
    """How a job's candidates were ranked, in its result. `gain`: by how much the best beats the mean of all that were scored; `sd`: their
    standard deviation. All four figures are None where nothing could be scored.
    """

    rank_by: RankBy
    score: str
    scored: int
    best: float | None
    mean: float | None
    gain: float | None
    sd: float | None


@dataclass(frozen=True)
class Row:
    """One candidate; `image` is the id of its picture, where that was kept. `x` and `bar` in the SVGs' units."""

    seed: int
    rank: int | None
    image: str
    score: str
    figures: list[str]
    x: float | None
    bar: float


def candidates_context(result: Mapping[str, Any] | None) -> dict[str, object] | None:
    """None for a job that chose nothing."""
    if not result or not result.get("ranking"):
        return None
    ranking: Ranking = result["ranking"]
    candidates: list[CandidateResult] = result["candidates"]
    kept = {image["seed"]: image["id"] for image in result["images"]}
    columns = columns_of(candidates)
    scale = Scale(ranking["score"], [candidate["score"] for candidate in candidates if candidate["score"] is not None])
    return {
        "rows": [make_row(candidate, kept, columns, scale) for candidate in candidates],
        "headings": [SHOWN.get(name, name) for name in columns],
        "is_weighted": ranking["score"] == WEIGHTED,
        "sentence": sentence(ranking, len(candidates), scale),
        "mean_x": None if ranking["mean"] is None else scale.place(ranking["mean"]),
        "low": scale.text(scale.low),
        "high": scale.text(scale.high),
        "width": WIDTH,
        "height": HEIGHT,
        "middle": HEIGHT / 2,
    }


def columns_of(candidates: list[CandidateResult]) -> list[str]:
    """Those of SHOWN that are there, and those that other judges brought."""
    there = {name: None for candidate in candidates for name, score in candidate["scores"].items() if score is not None}
    return [name for name in SHOWN if name in there] + [name for name in there if has_prefix(name)]


class Scale:
    """From the lowest to the highest score of a request. A cosine is shown on the scale of `clip_score`."""

    def __init__(self, score: str, values: list[float]) -> None:
        self.factor, self.digits = FACTORS.get(score, 1), 2 if score == WEIGHTED else 1
        self.low, self.high = min(values, default=0.0), max(values, default=0.0)

    def text(self, value: float | None) -> str:
        return "–" if value is None else decimal_text(value * self.factor, self.digits)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 1.0

    def place(self, value: float) -> float:
        return round(MARGIN + self.share(value) * (WIDTH - 2 * MARGIN), 1)


def make_row(candidate: CandidateResult, kept: Mapping[int, str], columns: list[str], scale: Scale) -> Row:
    score = candidate["score"]
    figures = [(candidate["scores"].get(name), FACTORS.get(name, 1)) for name in columns]
    return Row(
        seed=candidate["seed"],
        rank=candidate["rank"],
        image=kept.get(candidate["seed"], ""),
        score=scale.text(score),
        figures=[decimal_text(figure * factor, 1) if isinstance(figure, int | float) else "–" for figure, factor in figures],
        x=None if score is None else scale.place(score),
        bar=0.0 if score is None else round(4 + 96 * scale.share(score), 1),
    )


def sentence(ranking: Ranking, count: int, scale: Scale) -> str:
    weights = weights_of(ranking["rank_by"])
    if ranking["best"] is None:
        return _("%(count)d candidates; none of them could be ranked.") % {"count": count}
    by = _(" and ").join(
        str(CRITERIA.get(name, name)) if len(weights) == 1 else f"{weight:g} × {CRITERIA.get(name, name)}"
        for name, weight in weights.items()
    )
    best = "" if ranking["score"] == WEIGHTED else f": {scale.text(ranking['best'])}"  # the mean of weighted z-scores is 0
    return _("The best of %(count)d by %(by)s, %(gain)s above their mean (SD %(sd)s).") % {
        "count": count,
        "by": f"{by}{best}",
        "gain": scale.text(ranking["gain"]),
        "sd": scale.text(ranking["sd"]),
    }
