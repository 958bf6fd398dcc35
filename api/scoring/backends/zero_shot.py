"""The backend `clip`: a layout judged by opposite sentences, as CLIP-IQA judges photographs (Wang et al., arXiv:2207.12396).

For each pair: softmax(100·[cos(x, good), cos(x, poor)])[0]. A headline score is the mean of its own pairs; the overall score has
pairs of its own and is no mean of the others.

The two sentences of a pair differ in the judgement alone, so that what the picture shows cancels out; each says "design", which is
what screenshots and posters are called in captions; the words are those that people write under pictures, not a designer's
terms; each headline has three pairs, since one wording alone is noisy. No pair was fitted to data: a zero-shot judgement correlates
weakly with people's (SRCC .34 on AVA photographs), and the reasons say how nearly it was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from api.scoring.backends.clip import ClipEncoder, Floats, normalized
from api.scoring.backends.layout import HEADLINES, Layout, Verdict
from api.scoring.backends.learned import give_verdict, judged, preferred
from api.scoring.backends.measures import BALANCE, COLOR, COMPOSITION, Measure

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.model_loader import ModelLoader

OVERALL = "aesthetic_score"


@dataclass(frozen=True)
class Pair:
    name: str
    group: str
    good: str
    poor: str


PAIRS = (
    Pair("beautiful", OVERALL, "a beautiful design", "an ugly design"),
    Pair("professional", OVERALL, "a professional graphic design", "an amateurish graphic design"),
    Pair("good", OVERALL, "a good design", "a bad design"),
    Pair("organized", COMPOSITION, "a well organized design", "a disorganized design"),
    Pair("uncluttered", COMPOSITION, "a clean, uncluttered design", "a messy, cluttered design"),
    Pair("aligned", COMPOSITION, "a design with aligned elements", "a design with misaligned elements"),
    Pair("harmonious", COLOR, "a design with harmonious colors", "a design with clashing colors"),
    Pair("pleasant", COLOR, "a design with pleasant colors", "a design with unpleasant colors"),
    Pair("readable", COLOR, "a design with readable, high contrast text", "a design with unreadable, low contrast text"),
    Pair("balanced", BALANCE, "a balanced design", "an unbalanced design"),
    Pair("even", BALANCE, "a design with evenly distributed elements", "a design with unevenly distributed elements"),
    Pair("proportioned", BALANCE, "a well proportioned design", "a badly proportioned design"),
)


class ZeroShotScorer:
    """See `api.scoring.backends.layout.NetworkScorer`. Looks at the picture alone, at the middle square of it."""

    reads: tuple[str, ...] = ()

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self.encoder = ClipEncoder(loader, model_id)
        note = loader.catalog.get(model_id).note
        self.warnings = (f"{self.encoder.model_id}: {note}",) if note else ()

    def load(self, on_progress: Callable[[float, str], None]) -> None:
        self.encoder.load(on_progress)

    def prepare(self, picture: Image.Image) -> PixelArray:
        return self.encoder.preprocess(picture)

    def score_prepared(self, prepared: Sequence[PixelArray], layouts: Sequence[Sequence[Layout]]) -> list[list[Verdict]]:
        images = normalized(self.encoder.features_of(prepared))
        cosines = images @ self.encoder.embed_fixed([text for pair in PAIRS for text in (pair.good, pair.poor)]).T
        return [[self.judge(row)] * len(wanted) for row, wanted in zip(cosines, layouts, strict=True)]

    def judge(self, cosines: Floats) -> Verdict:
        """`cosines`: (2·pairs,), the good and the poor sentence of each pair in turn."""
        shares = preferred(cosines[0::2], cosines[1::2])
        measures = [
            judge_pair(pair, float(cosines[2 * place] - cosines[2 * place + 1]), 100 * float(share))
            for place, (pair, share) in enumerate(zip(PAIRS, shares, strict=True))
        ]
        scores = {name: float(np.mean([m.score for m in measures if m.group == name])) for name in HEADLINES}
        return give_verdict(
            measures, scores, backend="clip", model=self.encoder.model_id, device=self.encoder.device, warnings=self.warnings
        )


def judge_pair(pair: Pair, apart: float, score: float) -> Measure:
    """`apart`: the difference of the two cosines."""
    low = f"CLIP finds “{pair.poor}” fits it better than “{pair.good}” ({score:.0f} of 100 for the better)"
    high = f"CLIP finds “{pair.good}” fits it better than “{pair.poor}” ({score:.0f} of 100)"
    return judged(pair.name, pair.group, apart, score, low=low, high=high)
