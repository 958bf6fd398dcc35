"""The default scorer: published formulas over pixels, boxes and Tailwind classes. No weights; the same answer each time.

Every measure is taken once for a picture, at most 640 px on its long side; layouts that share a picture share the measures.
"""

from collections.abc import Sequence
from functools import cached_property

from PIL import Image

from api.scoring.backends import balance, colour, composition, contrast, covering, entropy
from api.scoring.backends.balance import AreaBox
from api.scoring.backends.harmony import Harmony, find_harmony, hue_histogram
from api.scoring.backends.layout import Element, Layout, Seen, Verdict
from api.scoring.backends.measures import BALANCE, COLOR, COMPOSITION, Measure, judge, judge_contrast
from api.scoring.backends.page import Box, Floats, Page
from api.scoring.backends.variant import judge_hues, judge_variant

MODEL = "heuristic-4"
PARTS = {BALANCE: 0.25, COMPOSITION: 0.4, COLOR: 0.35}
WORST_SHARE = 0.3  # one fault spoils a page: this much of a score is its worst part
HEAVY = 3  # measures of this weight and more can spoil the whole alone
MOST_MERITS = 3
TEXT_KINDS = {"text", "title", "heading", "headline", "subtitle", "paragraph", "label", "button", "link", "caption", "quote"}


class HeuristicScorer:
    def score(self, picture: Image.Image | None, layouts: Sequence[Layout]) -> list[Verdict]:
        sight = Sight(Page.of(picture)) if picture is not None else None
        return [score_layout(sight, layout) for layout in layouts]


class Sight:
    """What is seen in one picture; each measure is taken when first asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @cached_property
    def measures(self) -> list[Measure]:
        return [*judge_mass(self.mass), *judge_sight(self.page), *judge_color(self)]

    @cached_property
    def mass(self) -> balance.Mass:
        return balance.find_mass(self.page.weight)

    @cached_property
    def hues(self) -> Floats:
        return hue_histogram(self.page)

    @cached_property
    def harmony(self) -> Harmony:
        return find_harmony(self.hues)

    @cached_property
    def palette(self) -> list[tuple[colour.RGB, float]]:
        return colour.palette(self.page)

    @cached_property
    def found(self) -> list[Measure]:
        """Of the elements that are found in the pixels, for clients that name none."""
        page, boxes = self.page, self.boxes
        placed = [judge_equilibrium(boxes, page)] if boxes else []
        several = judge_lines(boxes, page) if len(boxes) > 1 else []
        return [judge_space(boxes, page), *placed, *several, *judge_cover(page), *judge_text(self.text, page)]

    @cached_property
    def boxes(self) -> list[Box]:
        return [block.box for block in self.page.elements.blocks]

    @cached_property
    def text(self) -> list[tuple[Box, float]]:
        return contrast.text_contrasts(self.page, [block.box for block in self.page.elements.blocks if block.kind != "image"])

    @cached_property
    def clutter(self) -> Measure:
        return judge("subband_entropy", entropy.subband_entropy(self.page))


def score_layout(sight: Sight | None, layout: Layout) -> Verdict:
    measures: list[Measure] = []
    warnings: list[str] = []
    scored: list[str] = []
    seen = None
    if sight is not None:
        boxes, text, own = measure_elements(sight, layout)
        measures += [*sight.measures, *own, *([sight.clutter] if layout.deep else [])]
        seen = Seen(sight.page, boxes, text, sight.mass, sight.hues, sight.harmony, sight.palette)
        scored.append("image")
    if any(layout.variant.values()) or layout.title or layout.description:
        judged, warnings = judge_variant(layout)
        measures += judged
        scored.append("variant")
    scores = headline_scores(measures)
    return Verdict(
        scores, tuple(measures), tuple(reasons(measures, scored)), tuple(scored), tuple(warnings), MODEL, "cpu", seen
    )


def measure_elements(sight: Sight, layout: Layout) -> tuple[list[Box], list[tuple[Box, float]], list[Measure]]:
    """Boxes, text and measures: of the client's elements, else of what is found in the pixels."""
    page = sight.page
    if not layout.elements:
        return sight.boxes, sight.text, sight.found
    boxes = [place(element, page) for element in layout.elements]
    drawn = [(round(x), round(y), max(1, round(w)), max(1, round(h))) for x, y, w, h in boxes]
    texts = [box for box, element in zip(drawn, layout.elements, strict=True) if element.kind.lower() in TEXT_KINDS]
    text = contrast.text_contrasts(page, texts)
    return drawn, text, [*judge_boxes(boxes, page), *judge_text(text, page)]


def place(element: Element, page: Page) -> AreaBox:
    """In the page's pixels, cut at its edges."""
    left, top = max(0.0, element.x * page.scale), max(0.0, element.y * page.scale)
    right = min(float(page.width), (element.x + element.w) * page.scale)
    bottom = min(float(page.height), (element.y + element.h) * page.scale)
    return left, top, max(right - left, 1e-6), max(bottom - top, 1e-6)


# ---------------------------------------------------------------- measures


def judge_mass(mass: balance.Mass) -> list[Measure]:
    across, down = (
        ("left", mass.left) if mass.left >= 0.5 else ("right", 1 - mass.left),
        ("top", mass.top) if mass.top >= 0.5 else ("bottom", 1 - mass.top),
    )
    return [
        judge("center_of_mass", mass.closeness, side=direction(mass)),
        judge("left_right", mass.left_right, side=across[0], share=100 * across[1]),
        judge("top_bottom", mass.top_bottom, side=down[0], share=100 * down[1]),
        judge("mirror_symmetry", mass.symmetry),
    ]


def direction(mass: balance.Mass) -> str:
    """'top left', 'right', …: where the centre of mass lies from the middle."""
    down = "top" if mass.y < 0.47 else "bottom" if mass.y > 0.53 else ""
    across = "left" if mass.x < 0.47 else "right" if mass.x > 0.53 else ""
    return " ".join(filter(None, (down, across))) or "middle"


def judge_sight(page: Page) -> list[Measure]:
    counts = composition.edge_counts(page)
    contrast = composition.figure_ground_contrast(counts)
    density = counts[0] / (page.width * page.height)
    sentence = None if counts[0] else "There is nothing to see: not one edge (figure-ground contrast 0)"
    return [
        judge("rule_of_thirds", composition.thirds_distance(composition.salient_places(page.saliency))),
        judge("figure_ground_contrast", contrast, score=None if counts[0] else 0.0, sentence=sentence),
        judge("edge_density", density, percent=100 * density),
        judge("luminance_sd", composition.luminance_sd(page)),
    ]


def judge_color(sight: Sight) -> list[Measure]:
    return [
        judge("colorfulness", colour.colorfulness(sight.page)),
        judge_hues("hue_harmony", sight.harmony),
        judge("pair_harmony", colour.palette_harmony(sight.palette)),
    ]


def judge_space(boxes: Sequence[AreaBox], page: Page) -> Measure:
    free = composition.white_space(boxes, page.width, page.height)
    return judge("white_space", free, percent=100 * free)


def judge_alignment(boxes: Sequence[AreaBox], page: Page) -> list[Measure]:
    off = composition.alignment(boxes, page.width, page.height)
    return [judge("alignment", off, count=len(boxes), percent=100 * off)]


def judge_lines(boxes: Sequence[AreaBox], page: Page) -> list[Measure]:
    off = composition.off_lines(boxes, page.width)
    return [judge("common_lines", off, count=len(boxes))]


def judge_equilibrium(boxes: Sequence[AreaBox], page: Page) -> Measure:
    return judge("box_equilibrium", balance.ngo_equilibrium(boxes, page.width, page.height))


def judge_cover(page: Page) -> list[Measure]:
    cover = covering.find_covering(page.gray, page.elements)
    return [judge("covering", cover.value, what=cover.explanation)] if cover else []


def judge_text(text: Sequence[tuple[Box, float]], page: Page) -> list[Measure]:
    if not text:
        return []
    ratio, large = contrast.hardest_to_read(text, page.height)
    return [judge_contrast("text_contrast", ratio, large=large)]


def judge_boxes(boxes: Sequence[AreaBox], page: Page) -> list[Measure]:
    size = (page.width, page.height)
    density = balance.ngo_density(boxes, *size)
    covered = 100 * sum(w * h for _, _, w, h in boxes) / (page.width * page.height)
    several = []
    if len(boxes) > 1:
        share = composition.overlap(boxes)
        aligned = [*judge_alignment(boxes, page), *judge_lines(boxes, page)]
        several = [*aligned, judge("overlap", share, percent=100 * share)]
    return [
        judge("box_balance", balance.ngo_balance(boxes, *size)),
        judge_equilibrium(boxes, page),
        judge("box_density", density, percent=covered),
        judge_space(boxes, page),
        *several,
    ]


# ---------------------------------------------------------------- the verdict


def headline_scores(measures: Sequence[Measure]) -> dict[str, float | None]:
    """A part is the weighted mean of its measures, three tenths of it its worst; the whole is the parts' mean and the worst of the
    measures that weigh most, likewise."""
    parts = {group: combine([(m.score, m.weight) for m in measures if m.group == group]) for group in PARTS}
    weightiest = [m.score for m in measures if m.weight >= HEAVY]
    whole = combine([(score, PARTS[group]) for group, score in parts.items() if score is not None], weightiest)
    return {name: None if score is None else round(score, 1) for name, score in {"aesthetic_score": whole, **parts}.items()}


def combine(scores: Sequence[tuple[float, float]], worst_of: Sequence[float] = ()) -> float | None:
    """Of (score, weight); `worst_of`: what the worst is looked for among, where that is not the scores themselves."""
    if not scores:
        return None
    mean = sum(score * weight for score, weight in scores) / sum(weight for _, weight in scores)
    return (1 - WORST_SHARE) * mean + WORST_SHARE * min(worst_of or [score for score, _ in scores])


def reasons(measures: Sequence[Measure], scored: Sequence[str]) -> list[str]:
    """Faults, the worst first; then the best merits; at last, what was not there to be judged."""
    explained = sorted((measure for measure in measures if measure.sentence), key=lambda measure: measure.score)
    faults = [f"{measure.sentence}." for measure in explained if measure.fault]
    merits = [f"{measure.sentence}." for measure in reversed(explained) if not measure.fault][:MOST_MERITS]
    absent = ["There was no image: the variant alone was scored."] if "image" not in scored else []
    middling = [] if faults or merits else ["Nothing stands out, neither as a fault nor as a merit."]
    return [*faults, *merits, *middling, *absent]
