"""A scorer that was trained here on its owner's stars and choices: a linear function of a frozen embedding and the heuristic measures.

Its overall score is the chance, in per cent, that its owner would prefer the picture to one of those that were judged; the reasons
say which measures moved it, and by how much. The other three headline scores are the heuristic's own.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from api.scoring.backends.heuristic import HeuristicScorer
from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.measures import Measure
from api.scoring.backends.taste import EMBEDDING, Floats, Taste

LAYOUTS = "layouts"
MIN_POINTS = 1.0  # a measure that moved the score by less isn't mentioned
MAX_SENTENCES = 4


class CustomScorer:
    """`encoder` embeds pictures as `ClipEncoder.embed_images` does; None for a taste that was learned from measures alone. `notes` are
    the first of its warnings.
    """

    def __init__(self, taste: Taste, encoder: Any = None, notes: tuple[str, ...] = ()) -> None:
        self.taste, self.encoder, self.notes = taste, encoder, notes

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of everything that it judges, one picture or the candidates of a request."""
        nothing = f"custom:{self.taste.name} learned nothing, so that its scores say no more than chance. {self.taste.summary}"
        return (*self.notes, *(() if self.taste.learned else (nothing.strip(),)))

    def score(self, picture: Image.Image | None, layouts: Sequence[Layout]) -> list[Verdict]:
        without_layout, *verdicts = HeuristicScorer().score(picture, [Layout(), *layouts])
        embedding = self.embed([picture])[0] if picture is not None else None
        return [self.judge(verdict, verdict if self.taste.on == LAYOUTS else without_layout, embedding) for verdict in verdicts]

    def score_pictures(self, pictures: Sequence[Image.Image]) -> list[float]:
        """0-100 for each picture by itself: what best-of-K ranks by."""
        measured = [HeuristicScorer().score(picture, [Layout()])[0] for picture in pictures]
        return [
            self.taste.score(sum(self.taste.pushes(values_of(verdict.measures), embedding).values()))
            for verdict, embedding in zip(measured, self.embed(pictures), strict=True)
        ]

    def embed(self, pictures: Sequence[Image.Image]) -> list[Floats | None]:
        if not self.taste.encoder:
            return [None] * len(pictures)
        return list(self.encoder.embed_images(pictures).astype(np.float64))

    def judge(self, verdict: Verdict, measured: Verdict, embedding: Floats | None) -> Verdict:
        taste = self.taste
        pushes = taste.pushes(values_of(measured.measures), embedding)
        utility = sum(pushes.values())
        score = taste.score(utility)
        points = {name: score - taste.score(utility - push) for name, push in pushes.items()}
        return replace(
            verdict,
            scores={**verdict.scores, "aesthetic_score": round(score, 1)},
            measures=tuple(with_points(measure, points) for measure in verdict.measures),
            reasoning=tuple(reasons(score, points, values_of(measured.measures), taste)),
            warnings=(*verdict.warnings, *self.warnings),
            model=f"custom:{taste.name}",
        )


def values_of(measures: Sequence[Measure]) -> dict[str, float]:
    return {measure.name: float(measure.value) for measure in measures}


def with_points(measure: Measure, points: dict[str, float]) -> Measure:
    if measure.name not in points:
        return measure
    note = f"{points[measure.name]:+.1f} points by this taste"
    return replace(measure, note=f"{measure.note}; {note}" if measure.note else note)


def reasons(score: float, points: dict[str, float], values: dict[str, float], taste: Taste) -> list[str]:
    """The score first; then what moved it most, against a picture that is the mean of those that were judged."""
    if not taste.learned:
        return [f"{taste.name} learned nothing: its score of {score:.0f} does not say what its raters would prefer."]
    largest = sorted(points, key=lambda name: -abs(points[name]))[:MAX_SENTENCES]
    sentences = [sentence(name, points[name], values, taste) for name in largest if abs(points[name]) >= MIN_POINTS]
    chance = f"By what {taste.name} learned, it would be preferred to {score:.0f} of 100 {taste.on} like those that were judged"
    return [f"{chance}.", *(sentences or ["Nothing about it is far from what is usual among those."])]


def sentence(name: str, points: float, values: dict[str, float], taste: Taste) -> str:
    verb = f"{'raises' if points > 0 else 'lowers'} the score by {abs(points):.0f}"
    if name == EMBEDDING:
        return f"What it shows, as {taste.encoder} sees it, {verb}."
    usual = taste.scaling.mean[taste.scaling.names.index(name)]
    place = "above" if values[name] > usual else "below"
    return f"A {name.replace('_', ' ')} of {values[name]:.3g}, {place} the usual {usual:.3g}, {verb}."
