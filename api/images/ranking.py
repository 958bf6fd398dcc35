"""Best of K: which of several candidates comes first, and by how much. Pure functions; no torch, no Django.

A criterion is what candidates are compared by: how well the picture fits its prompt (`clip`), how much it pleases (`aesthetic`), how
well it is laid out (`layout`). With one of them, candidates are ranked by its figure; with weights, each criterion's figures are first
made comparable within the request (z = (x − mean) / SD over its candidates), and the weighted sum decides. Ties go to the lower seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.json_types import JsonObject
from api.runtime.judge_registry import FIGURES

DEFAULT = "clip"
WEIGHTED = "weighted_z"

RankBy = str | Mapping[str, float]


@dataclass(frozen=True)
class Candidate:
    seed: int
    scores: Mapping[str, float | str | list[str] | None]


@dataclass(frozen=True)
class Place:
    """A candidate in the order. `score` is what it was ranked by; None, and no rank, where that could not be had."""

    candidate: Candidate
    rank: int | None
    score: float | None

    def as_json(self) -> JsonObject:
        score = None if self.score is None else round(self.score, 6)
        return {"seed": self.candidate.seed, "rank": self.rank, "score": score, "scores": dict(self.candidate.scores)}


def weights_of(rank_by: RankBy) -> dict[str, float]:
    """Criteria that count, with their weights."""
    weights = {rank_by: 1.0} if isinstance(rank_by, str) else rank_by
    return {name: weight for name, weight in weights.items() if weight}


def score_of(criterion: str) -> str:
    return FIGURES.get(criterion, criterion)


def figure_of(candidate: Candidate, criterion: str) -> float | None:
    value = candidate.scores.get(score_of(criterion))
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def usable(candidates: Sequence[Candidate], rank_by: RankBy) -> dict[str, float]:
    """The weights of those criteria that anything was scored by: one whose model can't be loaded leaves the rest to decide."""
    weights = weights_of(rank_by)
    return {
        name: weight
        for name, weight in weights.items()
        if any(figure_of(candidate, name) is not None for candidate in candidates)
    }


def rank(candidates: Sequence[Candidate], rank_by: RankBy) -> list[Place]:
    """Best first; what could not be scored stands at the end, by its seed, without a rank."""
    totals = total_scores(candidates, usable(candidates, rank_by))
    scored = sorted(
        ((candidate, total) for candidate, total in zip(candidates, totals, strict=True) if total is not None),
        key=lambda pair: (-pair[1], pair[0].seed),
    )
    unscored = [candidate for candidate, total in zip(candidates, totals, strict=True) if total is None]
    places = [Place(candidate, number, total) for number, (candidate, total) in enumerate(scored, 1)]
    return places + [Place(candidate, None, None) for candidate in sorted(unscored, key=lambda candidate: candidate.seed)]


def total_scores(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> list[float | None]:
    """One criterion: its own figure. Several: the weighted sum of z-scores. None where a figure is missing."""
    rows = [[figure_of(candidate, name) for name in weights] for candidate in candidates]
    if len(weights) == 1:
        return [row[0] for row in rows]
    whole = [[value for value in row if value is not None] for row in rows]
    complete = [row for row in whole if weights and len(row) == len(weights)]
    columns = [list(column) for column in zip(*complete, strict=True)]
    means, spreads = [statistics.fmean(column) for column in columns], [spread(column) for column in columns]
    return [
        math.fsum(
            weight * (value - mean) / deviation if deviation else 0.0
            for weight, value, mean, deviation in zip(weights.values(), row, means, spreads, strict=True)
        )
        if weights and len(row) == len(weights)
        else None
        for row in whole
    ]


def spread(values: Sequence[float]) -> float:
    """The sample's standard deviation; 0 for one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def summarize(places: Sequence[Place], rank_by: RankBy) -> JsonObject:
    """See `candidates.Ranking`."""
    totals = [place.score for place in places if place.score is not None]
    weights = usable([place.candidate for place in places], rank_by) or weights_of(rank_by)
    best, mean = (totals[0], statistics.fmean(totals)) if totals else (0.0, 0.0)

    def figure(value: float) -> float | None:
        return round(value, 6) + 0.0 if totals else None  # no -0.0

    return {
        "rank_by": rank_by if isinstance(rank_by, str) else dict(rank_by),
        "score": score_of(next(iter(weights))) if len(weights) == 1 else WEIGHTED,
        "scored": len(totals),
        "best": figure(best),
        "mean": figure(mean),
        "gain": figure(best - mean),
        "sd": figure(spread(totals)),
    }


def still_eligible(candidates: Sequence[Candidate], rank_by: RankBy, places: int) -> set[int]:
    """Seeds of those that can still be among the first `places`, whatever comes after them.

    With one criterion: the first `places`. With weights the z-scores move with each new candidate, so one goes only when as
    many others as there are places are at least as good by every criterion: no mean, SD or weight can put it before those.
    """
    weights = usable(candidates, rank_by)
    rows = [(candidate.seed, [figure_of(candidate, name) for name in weights]) for candidate in candidates]
    return {row[0] for row in rows if sum(stands_before(other, row) for other in rows) < places}


Row = tuple[int, list[float | None]]


def stands_before(one: Row, other: Row) -> bool:
    """Whether that is so by every weighing of these figures, which are a seed's."""
    is_whole, other_is_whole = None not in one[1], None not in other[1]
    if is_whole != other_is_whole:
        return is_whole
    if not is_whole or one[1] == other[1]:
        return one[0] < other[0]
    return all(a >= b for a, b in zip(one[1], other[1], strict=True))  # type: ignore[operator]
