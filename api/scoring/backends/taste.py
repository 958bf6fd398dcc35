"""One person's taste as a linear function of a picture's features, learned from stars and from choices between two. numpy alone.

The features are a frozen CLIP embedding and the heuristic measures. Utilities are f(x) = w·x; what is observed of them:

* a choice between a and b (Bradley & Terry 1952, Biometrika 39:324-345): P(a is preferred) = σ(f(a) - f(b)); a tie counts as half a
  choice for each;
* stars (ridge regression, Hoerl & Kennard 1970, Technometrics 12:55-67): stars / SD = b + K·f(x) + noise of SD 1. K puts both on
  one scale: if each picture's worth is seen with noise of SD 1, a difference of two is seen with √2, and a logistic curve of slope
  1.702 / √2 is that normal curve to within 0.01 (Thurstone's case V; Camilli 1994, J. Educ. Behav. Stat. 19:293-295).

w is the maximum of the joint posterior under w ~ N(0, 1/penalty) by Newton's method; b is free. One penalty is enough since `Scaling`
has made the features comparable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.json_types import JsonObject

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

K = np.sqrt(2) / 1.702
FARTHEST = 4.0  # SDs: one odd picture must not decide
LEAST_SHARE = 0.2  # a measure that fewer pictures have is left out
FREE = 1e-6  # the penalty of what is not to be shrunk
MOST_STEPS = 30
MOST_DIRECTIONS = 128


@dataclass(frozen=True)
class Judgements:
    """What was said of S subjects. `rated` (R,) and `pairs` (P, 2) are places in them; `outcomes` (P,): 1 first, 0 second, ½ a tie."""

    rated: Ints
    stars: Floats
    pairs: Ints
    outcomes: Floats

    def __len__(self) -> int:
        return len(self.rated) + len(self.pairs)

    def ends(self) -> Ints:
        """(N, 2): the subjects that each judgement is about, ratings first; a rating's is there twice."""
        return np.concatenate([np.stack([self.rated, self.rated], axis=1), self.pairs])

    def take(self, chosen: Flags) -> "Judgements":
        """`chosen` (N,), in the order of `ends`."""
        ratings, pairs = chosen[: len(self.rated)], chosen[len(self.rated) :]
        return Judgements(self.rated[ratings], self.stars[ratings], self.pairs[pairs], self.outcomes[pairs])


@dataclass(frozen=True)
class Scaling:
    """How features become comparable. Nothing of it looks at a judgement.

    Measures are standardised, cut at ±4 SD, and share one unit of variance; one that a picture lacks counts as the mean. The embedding
    is centred and shares another unit as a whole, so that its larger directions count for more, as they do under ridge.
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    embedding_mean: Floats
    embedding_scale: float

    @classmethod
    def of(cls, measures: Sequence[dict[str, float]], embeddings: Sequence[Floats | None]) -> "Scaling":
        names = tuple(name for name in sorted({name for one in measures for name in one}) if is_usual(name, measures))
        table = np.array([[one.get(name, np.nan) for name in names] for one in measures]).reshape(len(measures), len(names))
        known = np.array([embedding for embedding in embeddings if embedding is not None], dtype=float)
        center = known.mean(axis=0) if len(known) else np.zeros(0)
        spread = float(np.sqrt(((known - center) ** 2).sum(axis=1).mean())) if len(known) else 1.0
        return cls(names, np.nanmean(table, axis=0), np.nanstd(table, axis=0), center, spread or 1.0)

    def __call__(self, measures: dict[str, float], embedding: Floats | None) -> Floats:
        """The features (names, then embedding) of one subject."""
        raw = np.array([measures.get(name, np.nan) for name in self.names])
        standard = np.clip((raw - self.mean) / self.sd, -FARTHEST, FARTHEST)
        seen = (
            np.zeros(len(self.embedding_mean))
            if embedding is None
            else (embedding - self.embedding_mean) / self.embedding_scale
        )
        return np.concatenate([np.nan_to_num(standard) / np.sqrt(max(1, len(self.names))), seen])

    def as_json(self) -> JsonObject:
        return {
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "sd": self.sd.tolist(),
            "embedding_mean": np.round(self.embedding_mean, 7).tolist(),
            "embedding_scale": self.embedding_scale,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scaling":
        arrays = {name: np.array(data[name], dtype=float) for name in ("mean", "sd", "embedding_mean")}
        return cls(names=tuple(data["names"]), embedding_scale=data["embedding_scale"], **arrays)


def is_usual(name: str, measures: Sequence[dict[str, float]]) -> bool:
    values = [one[name] for one in measures if name in one]
    return len(values) >= max(2, LEAST_SHARE * len(measures)) and float(np.std(values)) > 1e-9


# ---------------------------------------------------------------- the fit


def rotate(features: Floats) -> tuple[Floats, Floats]:
    """(S, r) in as few dimensions as there can be, at most MOST_DIRECTIONS, and (D, r) by which a direction there is one here.

    Inner products stay what they were, and they are all that a ridge penalty sees; of more directions the largest are kept.
    """
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    kept = singular > 1e-9 * max(float(singular.max(initial=0.0)), 1e-12)
    kept[MOST_DIRECTIONS:] = False
    return left[:, kept] * singular[kept], right[kept].T


def fit(features: Floats, judged: Judgements, penalties: Sequence[float]) -> list[Floats]:
    """w for each penalty, in the penalties' order (falling ones are quickest: each starts where the last one ended)."""
    rows, targets, ratings = design(features, judged)
    weights, found = np.zeros(rows.shape[1]), []
    for penalty in penalties:
        weights = maximise(rows, targets, ratings, penalty, weights)
        found.append(weights[:-1])
    return found


def design(features: Floats, judged: Judgements) -> tuple[Floats, Floats, int]:
    """Rows (the last column is b's), what was observed, and how many of the rows are ratings."""
    ratings = np.concatenate([K * features[judged.rated], np.ones((len(judged.rated), 1))], axis=1)
    apart = features[judged.pairs[:, 0]] - features[judged.pairs[:, 1]]
    pairs = np.concatenate([apart, np.zeros((len(apart), 1))], axis=1)
    spread = float(np.std(judged.stars)) if len(judged.stars) else 0.0
    return np.concatenate([ratings, pairs]), np.concatenate([judged.stars / (spread or 1.0), judged.outcomes]), len(ratings)


def maximise(rows: Floats, targets: Floats, ratings: int, penalty: float, start: Floats) -> Floats:
    """Newton's method, its step halved until the posterior grows. The posterior is concave."""
    shrink = np.full(rows.shape[1], float(penalty))
    shrink[-1] = FREE
    weights = start
    value = loss(rows, targets, ratings, shrink, weights)
    for _ in range(MOST_STEPS):
        expected, curve = expect(rows @ weights, ratings)
        gradient = rows.T @ (expected - targets) + shrink * weights
        step = np.linalg.solve((rows.T * curve) @ rows + np.diag(shrink), gradient)
        length = 1.0
        while (new := loss(rows, targets, ratings, shrink, weights - length * step)) > value and length > 1e-3:
            length /= 2
        if new > value:
            break
        weights, gain, value = weights - length * step, value - new, new
        if gain < 1e-9 * (1 + abs(value)):
            break
    return weights


def expect(linear: Floats, ratings: int) -> tuple[Floats, Floats]:
    """What the model expects to observe, and how that moves with its linear part."""
    expected, curve = linear.copy(), np.ones_like(linear)
    expected[ratings:] = sigmoid(linear[ratings:])
    curve[ratings:] = np.maximum(expected[ratings:] * (1 - expected[ratings:]), 1e-9)
    return expected, curve


def loss(rows: Floats, targets: Floats, ratings: int, shrink: Floats, weights: Floats) -> float:
    linear = rows @ weights
    stars = 0.5 * ((targets[:ratings] - linear[:ratings]) ** 2).sum()
    choices = (np.logaddexp(0.0, linear[ratings:]) - targets[ratings:] * linear[ratings:]).sum()
    return float(stars + choices + 0.5 * (shrink * weights**2).sum())


def sigmoid(value: Any) -> Any:
    return 0.5 * (1 + np.tanh(0.5 * value))


def ranks(values: Floats) -> Floats:
    """From 1, equal values sharing the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


# ---------------------------------------------------------------- what was learned, in use

EMBEDDING = "embedding"
PLAIN = ("on", "encoder", "slope", "middle", "spread", "learned", "summary")


@dataclass(frozen=True)
class Taste:
    """What was learned, ready for use. `on`: images or layouts, which decides what is measured; `encoder` is '' without embeddings."""

    name: str
    scaling: Scaling
    weights: Floats
    on: str
    encoder: str
    slope: float
    middle: float
    spread: float
    learned: bool
    summary: str

    def as_json(self) -> JsonObject:
        plain = {name: getattr(self, name) for name in PLAIN}
        return {**plain, "scaling": self.scaling.as_json(), "weights": np.round(self.weights, 7).tolist()}

    @classmethod
    def from_json(cls, name: str, data: dict[str, Any]) -> "Taste":
        weights = np.array(data["weights"], dtype=float)
        return cls(name, Scaling.from_json(data["scaling"]), weights, **{name: data[name] for name in PLAIN})

    def pushes(self, measures: dict[str, float], embedding: Floats | None) -> dict[str, float]:
        """What each measure, and the embedding as a whole, adds to the utility of a picture that is the mean in everything."""
        each = self.scaling(measures, embedding) * self.weights
        count = len(self.scaling.names)
        return {**dict(zip(self.scaling.names, each[:count].tolist(), strict=True)), EMBEDDING: float(each[count:].sum())}

    def score(self, utility: float) -> float:
        """0-100."""
        return 100 * chance_to_win(utility, self.middle, self.spread, self.slope)


def chance_to_win(utility: float, middle: float, spread: float, slope: float) -> float:
    """The probability of being preferred to a picture drawn from those that were judged: the mean of a logistic curve over a
    normal distribution, by MacKay's approximation (1992, Neural Computation 4:720-736).
    """
    return float(sigmoid(np.float64(slope * (utility - middle) / np.sqrt(1 + np.pi * (slope * spread) ** 2 / 8))))
