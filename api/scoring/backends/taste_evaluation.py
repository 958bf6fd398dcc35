"""How well a taste was learned, on pictures that the fit had not seen, and how sure one can be of that. numpy alone.

Every judgement is predicted by a fit that knew none of its pictures (`splits`), with a penalty chosen inside that fit's own judgements
(nested cross-validation: Varma & Simon 2006, BMC Bioinformatics 7:91), so that nothing reported was trained or tuned on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from api.json_types import JsonObject
from api.scoring.backends.taste import Flags, Floats, Ints, Judgements, K, fit, ranks, rotate

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
GROUPS, INNER_GROUPS = 10, 5
SPLIT_GROUPS = 8  # where groups are left out two at a time
LARGE_PART = 0.25
CURVE = (0.125, 0.25, 0.5, 0.75, 1.0)
CURVE_DRAWS = 3
Z95 = 1.959964
OVERLAP = 1 + GROUPS / (GROUPS - 1)
"""By how much the variance of a cross-validated mean is larger than that of independent tests, since fits share their training: without
it, one in ten shuffled sets of comparisons looks learned (Nadeau & Bengio 2003, Machine Learning 52:239-281)."""
LEAST_FOR_CURVE = 8
Tell = Callable[[float], None]


@dataclass(frozen=True)
class Figure:
    """A mean over `count` items with its 95 % interval; None where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    def as_json(self) -> JsonObject:
        shown = {name: None if (v := getattr(self, name)) is None else round(v, 4) for name in ("value", "low", "high")}
        return {**shown, "count": self.count}


# ---------------------------------------------------------------- what is left out


def splits(judged: Judgements, groups: int, rng: np.random.Generator) -> Iterator[tuple[Flags, Flags]]:
    """(train, test) over the judgements; no picture of a test is in its training, and each judgement is tested once.

    Pictures that comparisons tie together stay in one group. Where most are tied together they are spread over groups all the same:
    then a comparison between groups i and j is tested by a fit that knew neither group.
    """
    ends = judged.ends()
    if len(ends) == 0:
        return
    units, many = find_units(judged)
    groups = min(groups if not many else min(groups, SPLIT_GROUPS), len(np.unique(units)))
    of_unit = np.empty(units.max() + 1, dtype=np.int64)
    of_unit[rng.permutation(len(of_unit))] = np.arange(len(of_unit)) % groups
    places = np.sort(of_unit[units[ends]], axis=1)
    for i, j in np.unique(places, axis=0):
        test: Flags = np.asarray((places[:, 0] == i) & (places[:, 1] == j))
        train: Flags = np.asarray(~np.isin(places, (i, j)).any(axis=1))
        if train.any():
            yield train, test


def find_units(judged: Judgements) -> tuple[Ints, bool]:
    """A number for each subject, the same for those that must stay together; and whether a large part was taken apart."""
    ends = judged.ends()
    parts = connected(ends)
    _, place, sizes = np.unique(parts[ends[:, 0]], return_inverse=True, return_counts=True)
    large = np.zeros(len(parts), dtype=bool)
    large[ends[sizes[place] > LARGE_PART * len(ends)]] = True
    large &= np.bincount(parts, minlength=len(parts))[parts] > 1
    units = np.where(large, len(parts) + np.arange(len(parts)), parts)
    return np.unique(units, return_inverse=True)[1].reshape(-1), bool(large.any())


def connected(ends: Ints) -> Ints:
    """For each subject the least one that a chain of judgements ties it to."""
    label = np.arange(ends.max() + 1)
    while True:
        least = label[ends].min(axis=1)
        new = label.copy()
        for side in (0, 1):
            np.minimum.at(new, ends[:, side], least)
        new = new[new]
        if np.array_equal(new, label):
            return label
        label = new


# ---------------------------------------------------------------- out of fold


def choose_penalty(features: Floats, judged: Judgements, rng: np.random.Generator) -> float:
    """The one under which judgements of unseen pictures are likeliest; the strongest where nothing can be tested."""
    total = np.zeros(len(PENALTIES))
    parts = list(splits(judged, INNER_GROUPS, rng))
    for place in rng.permutation(len(parts))[:INNER_GROUPS]:
        train, test = parts[place]
        held_out = judged.take(test)
        known = judged.take(train)
        for index, weights in enumerate(fit(features, known, PENALTIES)):
            total[index] += surprise(features @ weights, held_out, known)
    return PENALTIES[int(np.argmin(total))]


def surprise(utilities: Floats, judged: Judgements, known: Judgements) -> float:
    """Minus the log likelihood, up to a constant. Stars are compared around the means of what was known."""
    apart = utilities[judged.pairs[:, 0]] - utilities[judged.pairs[:, 1]]
    choices = (np.logaddexp(0.0, apart) - judged.outcomes * apart).sum()
    if not len(judged.rated) or not len(known.rated):
        return float(choices)
    spread = float(np.std(known.stars)) or 1.0
    expected = K * (utilities[judged.rated] - utilities[known.rated].mean())
    return float(choices + 0.5 * (((judged.stars - known.stars.mean()) / spread - expected) ** 2).sum())


def predict_unseen(
    features: Floats, judged: Judgements, rng: np.random.Generator, tell: Tell
) -> tuple[Floats, list[JsonObject]]:
    """Each judgement's two subjects as a fit saw them that knew neither: (N, 2) utilities, NaN where no such fit could be made. And,
    from the same splits, the learning curve: the same tests by fits on parts of their training.
    """
    ends = judged.ends()
    found = np.full((len(ends), 2), np.nan)
    drawn: dict[float, list[tuple[Flags, Floats, int]]] = {share: [] for share in CURVE[:-1]}
    whole, parts = [], list(splits(judged, GROUPS, rng))
    for place, (train, test) in enumerate(parts):
        known = judged.take(train)
        penalty = choose_penalty(features, known, rng)
        found[test] = (features @ fit(features, known, [penalty])[0])[ends[test]]
        whole.append(len(known))
        for share, results in drawn.items():
            size = round(share * len(known))
            for _ in range(CURVE_DRAWS if size >= LEAST_FOR_CURVE else 0):
                some = np.isin(np.arange(len(known)), rng.choice(len(known), size, replace=False))
                results.append((test, features @ fit(features, known.take(some), [penalty])[0], size))
        tell((place + 1) / len(parts))
    curve = [curve_point(judged, results) for results in drawn.values() if len(results) == CURVE_DRAWS * len(parts)]
    last: JsonObject = {
        "judgements": round(float(np.mean(whole))) if whole else 0,
        "pair_accuracy": pair_accuracy(judged, found).as_json(),
    }
    return found, [*(point for point in curve if point), *([last] if whole else [])]


def curve_point(judged: Judgements, results: Sequence[tuple[Flags, Floats, int]]) -> JsonObject:
    """One size of training set: the mean over its draws. Its interval is that of one draw, since all test the same judgements."""
    ends = judged.ends()
    figures = []
    for draw in range(CURVE_DRAWS):
        utilities = np.full(ends.shape, np.nan)
        for test, seen, _ in results[draw::CURVE_DRAWS]:
            utilities[test] = seen[ends[test]]
        figures.append(pair_accuracy(judged, utilities))
    known = [(f.value, f.low, f.high) for f in figures if f.value is not None and f.low is not None and f.high is not None]
    if not known:
        return {}
    value, low, high = (float(x) for x in np.mean(known, axis=0))
    size = round(float(np.mean([size for *_, size in results])))
    return {"judgements": size, "pair_accuracy": Figure(value, low, high, figures[0].count).as_json()}


# ---------------------------------------------------------------- figures


def preferences(judged: Judgements, predicted: Floats) -> tuple[Ints, Floats]:
    """(M, 2) subjects of which the first was preferred, and (M,) by how much the fits preferred it.

    A comparison is one, unless it is a tie; so are two rated pictures with different stars, each as a fit saw it that did not know it.
    """
    count = len(judged.rated)
    pairs, apart = judged.pairs, predicted[count:, 0] - predicted[count:, 1]
    sign = np.sign(judged.outcomes - 0.5)
    ordered = np.where((sign > 0)[:, None], pairs, pairs[:, ::-1])
    kept = (sign != 0) & ~np.isnan(apart)
    left, right = np.triu_indices(count, 1)
    stars = judged.stars[left] - judged.stars[right]
    seen = predicted[:count, 0]
    between = np.where(stars > 0, 1.0, -1.0) * (seen[left] - seen[right])
    distinct = (stars != 0) & ~np.isnan(between) & (judged.rated[left] != judged.rated[right])
    first, second = np.where(stars > 0, left, right)[distinct], np.where(stars > 0, right, left)[distinct]
    rated = np.stack([judged.rated[first], judged.rated[second]], axis=1)
    return np.concatenate([ordered[kept], rated]), np.concatenate([(sign * apart)[kept], between[distinct]])


def pair_accuracy(judged: Judgements, predicted: Floats) -> Figure:
    """The share of preferences that the fits share; 0.5 is chance, and what an exact tie of theirs counts for."""
    pairs, apart = preferences(judged, predicted)
    return accuracy_interval(pairs, np.where(apart > 0, 1.0, np.where(apart < 0, 0.0, 0.5)))


def accuracy_interval(pairs: Ints, right: Floats) -> Figure:
    """Pairs that share a picture are not independent: their covariances count (dyadic clusters: Aronow, Samii & Assenova 2015,
    Political Analysis 23:564-577). The interval is Wilson's (1927) at the number of independent pairs that has the same variance.
    """
    count = len(right)
    if count == 0:
        return Figure(None, None, None, 0)
    mean = float(right.mean())
    error = right - mean
    sums = np.bincount(pairs[:, 0], error, pairs.max() + 1) + np.bincount(pairs[:, 1], error, pairs.max() + 1)
    simple = float((error**2).sum())
    shared = (float((sums**2).sum()) - simple) / simple if simple > 0 else 1.0
    low, high = wilson(mean, max(1.0, count / (OVERLAP * max(1.0, shared))))
    return Figure(mean, low, high, count)


def wilson(share: float, count: float) -> tuple[float, float]:
    middle = (share + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * float(np.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2)))
    return max(0.0, middle - half), min(1.0, middle + half)


def rank_correlation(judged: Judgements, predicted: Floats) -> Figure:
    """Spearman's, of stars (a picture's mean) and predictions; the interval is Bonett & Wright's (2000, Psychometrika 65:23-28)."""
    subjects, place = np.unique(judged.rated, return_inverse=True)
    counts = np.bincount(place, minlength=len(subjects))
    if len(subjects) < 4:
        return Figure(None, None, None, len(subjects))
    stars = np.bincount(place, judged.stars) / counts
    seen = np.bincount(place, predicted[: len(judged.rated), 0]) / counts
    known = ~np.isnan(seen)
    rho = spearman(stars[known], seen[known])
    if rho is None or known.sum() < 4:
        return Figure(None, None, None, int(known.sum()))
    error = Z95 * np.sqrt(OVERLAP * (1 + rho**2 / 2) / (known.sum() - 3))
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    return Figure(rho, float(np.tanh(middle - error)), float(np.tanh(middle + error)), int(known.sum()))


def spearman(a: Floats, b: Floats) -> float | None:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def calibration(judged: Judgements, predicted: Floats) -> float:
    """The slope, 0 or more, that makes differences of unseen utilities honest: P = σ(slope · difference) (Platt 1999)."""
    _, apart = preferences(judged, predicted)
    slopes = np.concatenate([[0.0], np.geomspace(0.02, 5, 60)])
    if len(apart) == 0:
        return 0.0
    return float(slopes[np.argmin([np.logaddexp(0.0, -slope * apart).sum() for slope in slopes])])


# ---------------------------------------------------------------- all of it


@dataclass(frozen=True)
class Learned:
    """`weights` are of the features as `Scaling` gives them; times `slope` they are honest about unseen pictures. `spread`: the SD
    of the utilities of those that were judged, whose mean is `middle`.
    """

    weights: Floats
    penalty: float
    slope: float
    middle: float
    spread: float
    accuracy: Figure
    correlation: Figure
    curve: list[JsonObject]

    @property
    def learned(self) -> bool:
        """Whether chance is outside the interval."""
        return self.accuracy.low is not None and self.accuracy.low > 0.5


def learn(features: Floats, judged: Judgements, *, seed: int = 0, tell: Tell = lambda fraction: None) -> Learned:
    """The fit on everything, and the figures of fits that were made in the same way without what they are tested on.

    features: (S, D). The same judgements and seed give the same answer. `tell` hears the fraction that is done.
    """
    rng = np.random.default_rng(seed)
    turned, back = rotate(features)
    predicted, curve = predict_unseen(turned, judged, rng, tell)
    penalty = choose_penalty(turned, judged, rng)
    weights = fit(turned, judged, [penalty])[0]
    seen = (turned @ weights)[np.unique(judged.ends())]
    return Learned(
        weights=back @ weights,
        penalty=penalty,
        slope=calibration(judged, predicted),
        middle=float(seen.mean()),
        spread=float(seen.std()),
        accuracy=pair_accuracy(judged, predicted),
        correlation=rank_correlation(judged, predicted),
        curve=curve,
    )
