"""Which two to show next: those whose comparison is likely to teach most.

Two of the same prompt (of layouts: the same title) come first: between those a choice is about how they look, and not about what they
show. They are looked for among the newest POOL, then among the newest MOST_READ, before two of different prompts are offered.

What was compared least comes first, so that none is forgotten; beside it stands, of the others that were compared least, one that the
newest scorer finds about as good: of a pair that is far apart the answer is known before it is asked. Where no scorer knows the
pictures yet, the second is drawn by chance.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import QuerySet

from api.access.principals import Principal, visible_to
from api.files.models import StoredFile
from api.scoring.models import Comparison, CustomScorer, LayoutScore, PictureFeatures
from api.scoring.taste.features import pair_of, see_layout, unpack
from api.scoring.taste.judgements import comparisons_on

POOL = 300
MOST_READ = 5000
NOT_FOR_TASTE = ("annotated", "grid", "preprocessed", "uploaded")
"""Origins of pictures that no model painted: boxes drawn over a copy, a sketch to work from, a client's own."""


@dataclass(frozen=True)
class History:
    """What a rater has compared: how often each subject, and which pairs."""

    counts: Counter[uuid.UUID]
    pairs: frozenset[tuple[uuid.UUID, uuid.UUID]]

    @classmethod
    def of(cls, comparisons: QuerySet[Comparison]) -> "History":
        pairs = [pair_of(comparison) for comparison in comparisons.order_by("-pk")[:MOST_READ]]
        return cls(Counter(end for pair in pairs for end in pair), frozenset(pairs))

    def has(self, a: uuid.UUID, b: uuid.UUID) -> bool:
        return (a, b) in self.pairs or (b, a) in self.pairs


def next_pair(on: str, rater: Principal, rng: random.Random) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Of what this rater may see, in the order in which they are to be shown; None where all of the newest POOL are compared."""
    history = History.of(comparisons_on(on, [rater.owner_key]))
    newest = candidates(on, rater, POOL)
    pair = find_pair(on, newest, alike(newest), history, rng)
    if pair is None and len(newest) == POOL:
        older = alike(candidates(on, rater, MOST_READ))
        pair = find_pair(on, list(older)[:POOL], older, history, rng)
    return pair or find_pair(on, newest, dict.fromkeys(newest, "all"), history, rng)


def alike(subjects: dict[uuid.UUID, str]) -> dict[uuid.UUID, str]:
    """Those alone that have the words of another one. No words at all are nothing in common."""
    counts = Counter(subjects.values())
    return {one: words for one, words in subjects.items() if words and counts[words] > 1}


def find_pair(
    on: str, subjects: Iterable[uuid.UUID], groups: Mapping[uuid.UUID, str], history: History, rng: random.Random
) -> tuple[uuid.UUID, uuid.UUID] | None:
    """Two of one group."""
    order = sorted((one for one in subjects if one in groups), key=lambda one: (history.counts[one], rng.random()))
    for first in order:
        others = [one for one in order if one != first and groups[one] == groups[first] and not history.has(one, first)]
        if others:
            least = [one for one in others if history.counts[one] == history.counts[others[0]]]
            second = choose_other(on, first, least, rng)
            return (first, second) if rng.random() < 0.5 else (second, first)
    return None


def candidates(on: str, rater: Principal, most: int) -> dict[uuid.UUID, str]:
    """Pictures that a model painted here, with their prompts; layouts that have a picture, with their titles. Newest first."""
    if on == "layouts":
        layouts = visible_to(rater, LayoutScore.objects.filter(image__isnull=False)).order_by("-pk")
        return dict(layouts.values_list("pk", "title")[:most])
    painted = StoredFile.objects.filter(generated__isnull=False).exclude(generated__origin__in=NOT_FOR_TASTE)
    return dict(visible_to(rater, painted).order_by("-pk").values_list("pk", "generated__prompt")[:most])


def choose_other(on: str, first: uuid.UUID, others: list[uuid.UUID], rng: random.Random) -> uuid.UUID:
    guessed = guess(on, [first, *others])
    known = [one for one in others if one in guessed]
    if first not in guessed or not known:
        return rng.choice(others)
    return min(known, key=lambda one: abs(guessed[one] - guessed[first]))


def guess(on: str, ids: list[uuid.UUID]) -> dict[uuid.UUID, float]:
    """By the newest scorer that learned something, for those whose features are kept; {} without one."""
    scorer = CustomScorer.objects.filter(on=on, learned=True).order_by("-pk").first()
    if scorer is None:
        return {}
    from api.scoring.backends.taste import Taste

    taste = Taste.from_json(str(scorer), scorer.taste)
    layouts = LayoutScore.objects.filter(pk__in=ids) if on == "layouts" else LayoutScore.objects.none()
    files = [layout.image_id for layout in layouts] or ids
    kept = PictureFeatures.objects.filter(file__in=files, extractor=scorer.taste["extractor"])
    seen = {row.file_id: unpack(row) for row in kept}
    if on == "layouts":
        seen = {layout.pk: see_layout(layout, seen) for layout in layouts if layout.image_id in seen}
    return {one: sum(taste.pushes(*features).values()) for one, features in seen.items()}
