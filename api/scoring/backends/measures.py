"""Every sub-measure: which headline it counts for and how much, how its value becomes a score, and how it is put into words.

A value becomes 0-100 by straight lines between `knots`. Where a tercile of 500 web sites is published (AIM, ALEXA-500) the band
is the third of those sites that the value falls into; elsewhere it is the third of the score.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from api.json_types import JsonObject
from api.scoring.backends import contrast

WHOLE, BALANCE, COMPOSITION, COLOR = "aesthetic_score", "balance_score", "composition_score", "color_harmony_score"
WORST_HARMONY = 0.180894  # of all hue distributions: a uniform wheel, under template X
WEAK, STRONG = (
    60.0,
    85.0,
)  # below WEAK a measure is told as a fault (unless its scale says otherwise), from STRONG on as a merit


@dataclass(frozen=True)
class Scale:
    """`low`, `high`: what is said of a weak value below or above the best one; `good`: of a strong one.

    The sentences are formats of `value` and of what `judge` is given besides.
    """

    group: str
    weight: float
    knots: tuple[tuple[float, float], ...]
    good: str
    low: str = ""
    high: str = ""
    terciles: tuple[float, float] | None = None
    weak: float = WEAK

    def score(self, value: float) -> float:
        return float(np.interp(value, [x for x, _ in self.knots], [y for _, y in self.knots]))

    def band(self, value: float, score: float) -> str:
        low, high, place = (*self.terciles, value) if self.terciles else (100 / 3, 200 / 3, score)
        return "low" if place < low else "mid" if place < high else "high"

    def sentence(self, value: float, score: float, facts: JsonObject) -> str:
        if self.weak <= score < max(STRONG, self.weak + 5):
            return ""
        best = max(self.knots, key=lambda knot: knot[1])[0]
        template = self.good if score >= self.weak else (self.low if value < best else self.high) or self.low or self.high
        return template.format(value=value, **facts)


@dataclass(frozen=True)
class Measure:
    name: str
    group: str
    weight: float
    value: float
    score: float
    band: str
    sentence: str
    fault: bool
    note: str = ""

    def as_json(self) -> JsonObject:
        shown: JsonObject = {"value": round(self.value, 4), "score": round(self.score, 1), "band": self.band}
        return {**shown, "note": self.note} if self.note else shown


def judge(
    name: str, value: float, *, score: float | None = None, sentence: str | None = None, note: str = "", **facts: Any
) -> Measure:
    """`score` and `sentence` overrule the scale's; `facts` are what its sentences name beside the value."""
    scale = SCALES[name]
    points = scale.score(value) if score is None else score
    text = scale.sentence(value, points, facts) if sentence is None else sentence
    return Measure(name, scale.group, scale.weight, value, points, scale.band(value, points), text, points < scale.weak, note)


def judge_contrast(name: str, ratio: float, *, large: bool, **facts: Any) -> Measure:
    """What just meets WCAG's need scores the same, whether it is large or not."""
    score = SCALES[name].score(ratio * contrast.AA[False] / contrast.AA[large])
    return judge(name, ratio, score=score, needed=f"{contrast.AA[large]:g}", **facts)


HARMONY_KNOTS = ((0.0, 100.0), (WORST_HARMONY, 0.0))
PAIR_KNOTS = ((-1.24, 0.0), (-0.83, 15.0), (-0.54, 35.0), (-0.28, 52.0), (0.03, 70.0), (0.5, 92.0), (0.84, 100.0))
"""By the place among random pairs of sRGB colours: their 5th, 25th, 50th, 75th, 95th and 99th percentiles."""
SIDE_KNOTS = ((0.0, 100.0), (0.2, 85.0), (0.5, 40.0), (1.0, 0.0))
BOX_BALANCE_KNOTS = ((0.0, 20.0), (0.2, 60.0), (0.5, 82.0), (0.8, 95.0), (1.0, 100.0))
"""Good layouts seldom balance by Ngo's measure: among drawn ones a tenth lies below 0.2, half below 0.4."""
NGO_KNOTS = ((0.0, 0.0), (0.5, 45.0), (0.8, 85.0), (1.0, 100.0))
EQUILIBRIUM_KNOTS = ((0.5, 0.0), (0.7, 35.0), (0.83, 58.0), (0.9, 80.0), (0.96, 100.0))
MASS_KNOTS = ((0.4, 0.0), (0.7, 45.0), (0.85, 80.0), (0.95, 100.0))

SCALES: dict[str, Scale] = {
    # ------------------------------------------------------------ balance, of the pixels
    "center_of_mass": Scale(
        BALANCE, 2, MASS_KNOTS,
        low="The visual centre of mass lies to the {side}: its closeness to the middle is {value:.2f} of 1",
        good="The visual centre of mass is close to the middle ({value:.2f} of 1)",
    ),
    "left_right": Scale(
        BALANCE, 1, SIDE_KNOTS,
        high="The {side} half carries {share:.0f} % of the visual weight",
        good="Left and right weigh nearly the same ({share:.0f} % on the {side})",
    ),
    "top_bottom": Scale(
        BALANCE, 1, SIDE_KNOTS,
        high="The {side} half carries {share:.0f} % of the visual weight",
        good="Top and bottom weigh nearly the same ({share:.0f} % at the {side})",
    ),
    "mirror_symmetry": Scale(
        BALANCE, 1, ((0.0, 30.0), (0.4, 60.0), (0.8, 100.0)),
        low="The halves hardly mirror each other (symmetry {value:.2f} of 1)",
        good="The halves mirror each other well (symmetry {value:.2f} of 1)",
    ),
    # ------------------------------------------------------------ balance, of boxes
    "box_balance": Scale(
        BALANCE, 1, BOX_BALANCE_KNOTS,
        low="The elements are out of balance: {value:.2f} of 1 by area and distance from the centre lines",
        good="The elements balance each other ({value:.2f} of 1)",
    ),
    "box_equilibrium": Scale(
        BALANCE, 5, EQUILIBRIUM_KNOTS,
        low="The elements' centre of mass is off the middle ({value:.2f} of 1)",
        good="The elements' centre of mass is in the middle ({value:.2f} of 1)",
    ),
    "box_density": Scale(
        COMPOSITION, 0.5, ((0.0, 20.0), (0.3, 60.0), (0.7, 100.0)),
        low="The elements cover {percent:.0f} % of the frame, far from half (density {value:.2f} of 1)",
        good="The elements cover {percent:.0f} % of the frame, near the half that reads best (density {value:.2f} of 1)",
    ),
    # ------------------------------------------------------------ composition
    "rule_of_thirds": Scale(
        COMPOSITION, 1, ((0.0, 100.0), (0.3, 80.0), (0.6, 55.0), (1.0, 0.0)),
        high="What stands out is far from the thirds ({value:.2f} of the largest distance)",
        good="What stands out is near a crossing of the thirds ({value:.2f} of the largest distance)",
    ),
    "figure_ground_contrast": Scale(
        COMPOSITION, 2, ((0.3, 100.0), (0.5786, 80.0), (0.6855, 58.0), (0.9, 15.0), (1.0, 0.0)), terciles=(0.5786, 0.6855),
        high="Figures stand out weakly from their ground: {value:.2f} of 1 is lost early (a third of web sites is above 0.69)",
        good="Figures stand out clearly from their ground ({value:.2f}; a third of web sites is below 0.58)",
    ),
    "luminance_sd": Scale(
        COMPOSITION, 1, ((0.0, 0.0), (25.0, 45.0), (40.0, 70.0), (56.44, 90.0), (70.0, 100.0), (85.94, 90.0), (127.5, 62.0)),
        terciles=(56.44, 85.94),
        low="Light and dark differ little: luminance spreads by {value:.0f} of 255 (a third of web sites is below 56)",
        high="Light and dark differ harshly: luminance spreads by {value:.0f} of 255",
        good="Light and dark are well spread (luminance SD {value:.0f})",
    ),
    "white_space": Scale(
        COMPOSITION, 3, ((0.0, 0.0), (0.15, 25.0), (0.3402, 65.0), (0.45, 90.0), (0.55, 100.0), (0.75, 90.0), (0.9, 65.0), (1.0, 20.0)),
        terciles=(0.3402, 0.6366),
        low="It is crowded: only {percent:.0f} % is left free (two thirds of web sites leave more than 34 %)",
        high="It is nearly empty: {percent:.0f} % is left free",
        good="There is room to breathe: {percent:.0f} % is left free",
    ),
    "edge_density": Scale(
        COMPOSITION, 4, ((0.0, 0.0), (0.004, 70.0), (0.01, 100.0), (0.035, 100.0), (0.06, 80.0), (0.08, 50.0), (0.12, 15.0), (0.2, 0.0)),
        low="There is little to see: {percent:.1f} % of the pixels are edges",
        high="It is crowded: {percent:.1f} % of the pixels are edges",
        good="It is not crowded ({percent:.1f} % of the pixels are edges)",
    ),
    "alignment": Scale(
        COMPOSITION, 2, ((0.0, 100.0), (0.0015, 92.0), (0.005, 58.0), (0.015, 30.0), (0.05, 10.0), (0.25, 0.0)),
        high="The {count} elements line up poorly: the nearest common line is {percent:.1f} % of the frame off on average",
        good="The {count} elements line up ({percent:.1f} % off on average)",
    ),
    "common_lines": Scale(
        COMPOSITION, 4, ((0.0, 100.0), (0.05, 92.0), (0.16, 58.0), (0.3, 25.0), (0.6, 0.0)),
        high="The {count} elements are out of alignment: few share an edge or a middle line ({value:.2f} of 1 off)",
        good="The {count} elements share edges and middle lines ({value:.2f} of 1 off)",
    ),
    "covering": Scale(
        COMPOSITION, 4, ((0.0, 100.0), (0.4, 88.0), (0.7, 60.0), (1.0, 30.0), (2.0, 10.0), (4.0, 0.0)),
        high="Elements seem to cover each other: {what}",
        good="No element seems to cover another ({what})",
    ),
    "overlap": Scale(
        COMPOSITION, 3, ((0.0, 100.0), (0.02, 85.0), (0.1, 50.0), (0.3, 20.0), (1.0, 0.0)),
        high="Elements cover each other: {percent:.0f} % of an element's area on average lies under another",
        good="No element covers another ({percent:.0f} % overlap)",
    ),
    "subband_entropy": Scale(
        COMPOSITION, 1, ((0.0, 60.0), (1.5, 90.0), (2.2, 100.0), (2.7153, 90.0), (3.4693, 58.0), (4.5, 15.0), (5.5, 0.0)),
        terciles=(2.7153, 3.4693),
        high="It is cluttered: a subband entropy of {value:.2f} (a third of web sites is above 3.47)",
        low="There is little to see: a subband entropy of {value:.2f}",
        good="It is uncluttered (subband entropy {value:.2f})",
    ),
    # ------------------------------------------------------------ colour
    "colorfulness": Scale(
        COLOR, 1, ((0.0, 40.0), (12.0, 52.0), (26.1, 75.0), (45.0, 100.0), (70.0, 95.0), (150.0, 30.0), (250.0, 0.0)),
        terciles=(26.10, 54.15),
        low="Its colours are dull: a colourfulness of {value:.1f} (two thirds of web sites are above 26.1)",
        high="Its colours are loud: a colourfulness of {value:.1f} (a third of web sites is above 54.2)",
        good="Its colours are lively without being loud (colourfulness {value:.1f})",
    ),
    "hue_harmony": Scale(
        COLOR, 7, HARMONY_KNOTS, weak=93,
        high="Hues clash: they lie {degrees:.1f}° on average outside the best harmonic template ({template})",
        good="Hues fit the harmonic template {template} ({degrees:.1f}° off on average)",
    ),
    "pair_harmony": Scale(
        COLOR, 2, PAIR_KNOTS,
        low="The main colours go badly with each other: a two-colour harmony of {value:.2f} on a scale from -1.24 to 1.39",
        good="The main colours go well with each other (two-colour harmony {value:.2f})",
    ),
    "text_contrast": Scale(
        COLOR, 3, contrast.KNOTS,
        low="Text contrast of {value:.1f}:1 is below WCAG AA's {needed}:1",
        good="Text contrast of {value:.1f}:1 meets WCAG AA's {needed}:1",
    ),
    # ------------------------------------------------------------ the variant
    "gradient_contrast": Scale(
        COLOR, 3, contrast.KNOTS,
        low="Text contrast of {value:.1f}:1 ({text} at its worst place on the gradient) is below WCAG AA's {needed}:1",
        good="Text contrast is at least {value:.1f}:1 along the gradient ({text}), above WCAG AA's {needed}:1",
    ),
    "gradient_hue_harmony": Scale(
        COLOR, 2, HARMONY_KNOTS,
        high="The gradient's hues lie {degrees:.1f}° on average outside the best harmonic template ({template})",
        good="The gradient's hues fit the harmonic template {template} ({degrees:.1f}° off on average)",
    ),
    "gradient_pair_harmony": Scale(
        COLOR, 1, PAIR_KNOTS,
        low="The gradient's colours go badly together: a two-colour harmony of {value:.2f} on a scale from -1.24 to 1.39",
        good="The gradient's colours go well with each other (two-colour harmony {value:.2f})",
    ),
    "title_lines": Scale(
        COMPOSITION, 3, ((0.0, 60.0), (1.0, 100.0), (2.0, 100.0), (3.0, 70.0), (4.0, 45.0), (6.0, 10.0), (10.0, 0.0)),
        high="The title of {length} characters needs {lines} at {pixels} px",
        good="The title of {length} characters fits into {lines} at {pixels} px",
    ),
    "description_lines": Scale(
        COMPOSITION, 1, ((0.0, 80.0), (1.0, 100.0), (4.0, 100.0), (8.0, 60.0), (16.0, 15.0), (40.0, 0.0)),
        high="The description of {length} characters needs {lines}",
        good="The description of {length} characters fits into {lines}",
    ),
    "type_scale": Scale(
        COMPOSITION, 1, ((1.0, 20.0), (1.25, 55.0), (1.75, 90.0), (2.25, 100.0), (5.0, 100.0), (8.0, 80.0)),
        low="The title is set {value:.2f} times as large as the text, too little to lead",
        good="The title is set {value:.2f} times as large as the text",
    ),
    "layout_balance": Scale(
        BALANCE, 2, NGO_KNOTS,
        low="Title and text, as this layout places them, are out of balance ({value:.2f} of 1)",
        good="Title and text, as this layout places them, balance each other ({value:.2f} of 1)",
    ),
    "layout_equilibrium": Scale(
        BALANCE, 2, MASS_KNOTS,
        low="Title and text, as this layout places them, pull away from the middle ({value:.2f} of 1)",
        good="Title and text, as this layout places them, sit around the middle ({value:.2f} of 1)",
    ),
    # ------------------------------------------------------------ learned
    "nima_mean": Scale(
        WHOLE, 1, ((1.0, 0.0), (3.0, 20.0), (4.728, 50.0), (5.8193, 75.0), (7.0, 92.0), (8.5, 100.0)), terciles=(4.728, 5.8193), weak=50,
        low="A mean rating of {value:.2f} of 10 is low (its standard deviation {deviation:.2f}; two thirds of web sites are above 4.73)",
        good="A mean rating of {value:.2f} of 10 is high (its standard deviation {deviation:.2f}; two thirds of web sites are below 5.82)",
    ),
}  # fmt: skip
