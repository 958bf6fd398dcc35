"""Pictures for training, endless and the same for the same seed."""

from collections.abc import Iterator

import numpy as np

from api.starter import world
from api.starter.world.styles import riso

EVALUATION_SEED = 1_000_000_007
"""Training uses seeds below this one, evaluation this and what follows."""


def facts(seed: int) -> Iterator[tuple[world.Picture, int]]:
    """Pictures without held-out combinations, and the seeds to draw them from."""
    rng = np.random.default_rng(seed)
    while True:
        picture = world.sample_for_training(rng)
        yield picture, int(rng.integers(EVALUATION_SEED))


def pictures(seed: int) -> Iterator[tuple[world.Picture, np.ndarray]]:
    """The same with their pixels, (128, 128, 3) uint8."""
    for picture, render_seed in facts(seed):
        yield picture, world.render(picture, render_seed)


def widened(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Now and then in other colours, mirrored or as a print, so that the autoencoder keeps what others bring, too."""
    draw = rng.random()
    if draw < 0.06:
        return riso(pixels)
    if draw < 0.18:
        pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels.transpose(1, 0, 2)
        pixels = pixels[..., rng.permutation(3)]
        return np.ascontiguousarray(255 - pixels if rng.random() < 0.3 else pixels)
    return pixels
