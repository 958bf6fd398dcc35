"""How well the heuristic scorer tells good posters from spoiled ones: pairs of the world's posters with one known fault each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Element, Layout, Verdict
from api.scoring.backends.measures import Measure
from api.starter.world.posters import FAULTS, EventPoster, render_poster, sample_poster, spoil

SEED = 1_000_000_100
"""Of the held-out posters; for development take any below 1,000,000,000."""
WAYS = ("boxes", "picture")
"""With the elements' boxes given, and from the picture alone."""
MEASURES: dict[str, dict[str, tuple[str, ...]]] = {
    "contrast": {"boxes": ("text_contrast",), "picture": ("text_contrast",)},
    "overlap": {"boxes": ("overlap",), "picture": ("covering",)},
    "alignment": {"boxes": ("common_lines",), "picture": ("common_lines",)},
    "balance": {"boxes": ("box_equilibrium",), "picture": ("box_equilibrium",)},
    "clash": {"boxes": ("hue_harmony",), "picture": ("hue_harmony",)},
    "crowding": {"boxes": ("edge_density",), "picture": ("edge_density",)},
}
"""The measure that should prefer the good one, and whose sentence names the fault."""
WANTED = {"measure": 0.90, "overall": 0.85, "named": 0.80}


@dataclass(frozen=True)
class Outcome:
    """Of one pair. `alarm`: the good one was said to have the fault, too."""

    fault: str
    way: str
    measure: bool
    overall: bool
    named: bool
    alarm: bool


def pairs(count: int, seed: int) -> Iterator[tuple[EventPoster, EventPoster]]:
    """The kinds of fault in turn."""
    for number in range(count):
        rng, fault = np.random.default_rng([seed, number]), FAULTS[number % len(FAULTS)]
        spoiled = None
        while spoiled is None:
            good = sample_poster(rng)
            spoiled = spoil(good, fault, rng)
        yield good, spoiled


def verdicts(poster: EventPoster) -> dict[str, Verdict]:
    """By WAYS."""
    elements = tuple(Element(**element) for element in poster.elements)  # type: ignore[arg-type]
    layouts = [Layout(elements=elements), Layout()]
    found = HeuristicScorer().score(Image.fromarray(render_poster(poster)), layouts)
    return dict(zip(WAYS, found, strict=True))


def compare(good: EventPoster, spoiled: EventPoster) -> list[Outcome]:
    fault = spoiled.fault
    first, second = verdicts(good), verdicts(spoiled)
    return [
        Outcome(
            fault,
            way,
            measure=all(_score(first[way], name) > _score(second[way], name) for name in MEASURES[fault][way]),
            overall=_overall(first[way]) > _overall(second[way]),
            named=_names(second[way], fault, way),
            alarm=_names(first[way], fault, way),
        )
        for way in WAYS
    ]


def _score(verdict: Verdict, name: str) -> float:
    """100 where there was nothing to measure: no text that could be read badly, say."""
    return next((measure.score for measure in verdict.measures if measure.name == name), 100.0)


def _overall(verdict: Verdict) -> float:
    return verdict.scores["aesthetic_score"] or 0.0


def _names(verdict: Verdict, fault: str, way: str) -> bool:
    """Whether the reasoning has a sentence about the fault."""
    return any(_is_told(measure, verdict) for measure in verdict.measures if measure.name in MEASURES[fault][way])


def _is_told(measure: Measure, verdict: Verdict) -> bool:
    return measure.fault and f"{measure.sentence}." in verdict.reasoning


def shares(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """way → fault → share of each of measure, overall, named, alarm; and all faults together."""
    return {
        way: {
            fault: {
                name: float(np.mean([getattr(o, name) for o in outcomes if o.way == way and fault in (o.fault, "all")]))
                for name in ("measure", "overall", "named", "alarm")
            }
            for fault in (*FAULTS, "all")
        }
        for way in WAYS
    }
