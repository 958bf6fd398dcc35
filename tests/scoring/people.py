"""Simulated people with a hidden taste, and pictures for them to judge: of the starter's world, which no figure here was fitted on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from api.scoring.backends.taste import Floats, ranks
from api.starter import world

SEED = 4_000_000


def draw_pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(SEED)
    return [Image.fromarray(world.render(world.sample(rng), SEED + place)) for place in range(count)]


def hidden_utility(measures: Sequence[dict[str, float]], embeddings: Floats, rng: np.random.Generator) -> Floats:
    """(S,) SD 1: how much somebody likes each picture.

    Half of the variance is a random direction in the embedding with every dimension standardised, half are random weights on
    the *ranks* of the measures. A scorer sees neither so: it keeps the embedding's own unequal variances, and takes the values
    of the measures. A measure that a picture lacks has its median rank.
    """
    seen = (embeddings - embeddings.mean(axis=0)) / embeddings.std(axis=0)
    names = sorted({name for one in measures for name in one})
    table = np.array([[one.get(name, np.nan) for name in names] for one in measures])
    table = np.where(np.isnan(table), np.nanmedian(table, axis=0), table)
    ranked = np.stack([ranks(column) for column in table.T], axis=1)
    parts = [seen @ rng.normal(size=seen.shape[1]), (ranked - ranked.mean(axis=0)) @ rng.normal(size=len(names))]
    utility = sum((part - part.mean()) / part.std() for part in parts)
    return np.asarray(utility / np.std(utility))


def prefers_first(utility: Floats, pairs: Floats, rng: np.random.Generator, slips: float = 0.0) -> Floats:
    """(P,) 1 where the first is preferred, else 0; a share of `slips` of the answers is the wrong way round."""
    right = utility[pairs[:, 0]] > utility[pairs[:, 1]]
    return np.where(rng.random(len(pairs)) < slips, ~right, right).astype(float)


def stars_for(utility: Floats, rng: np.random.Generator, noise: float = 0.5) -> Floats:
    """1-5 by where a picture stands among all, seen with noise."""
    seen = utility + noise * rng.normal(size=len(utility))
    return np.clip(np.floor(5 * (ranks(seen) - 0.5) / len(seen)), 0, 4) + 1
