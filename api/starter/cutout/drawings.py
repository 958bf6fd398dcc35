"""Drawings with the mask of their subject, as starter-cutout learns from them and is measured on them."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from api.starter import world
from api.starter.drawing_pool import DrawingPool
from api.starter.training.data import EVALUATION_SEED
from api.starter.world.signs import SignPicture, sample_signs

SIZE = 256
FINE = 2
"""Masks are drawn so many times as large, and made smaller to coverages of 0..1."""
SIGN_SHARE = 0.25
SUBJECT_SHARE = 0.004
"""The part of a drawing that must belong to its subject for it to count as one that has a subject."""


@dataclass(frozen=True)
class Drawing:
    """(256, 256, 3) uint8; how far each pixel belongs to the subject, (256, 256) float32 of 0..1."""

    pixels: np.ndarray
    alpha: np.ndarray

    @property
    def has_subject(self) -> bool:
        return bool(self.alpha.mean() > SUBJECT_SHARE)


def draw(picture: world.Picture | SignPicture, seed: int, size: int = SIZE) -> Drawing:
    """Drawn at `size` and enlarged to 256, as the pictures of `starter` are."""
    fine, mask = world.render_with_subject(picture, seed, size * FINE)
    pixels = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    if size != SIZE:
        pixels = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        alpha = cv2.resize(alpha, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return Drawing(pixels, alpha)


def for_training(seed: int) -> Iterator[Drawing]:
    """Endless, the same for the same seed, without what is held out for evaluation; every second one drawn at 128 pixels."""
    rng = np.random.default_rng(seed)
    while True:
        picture = sample_signs(rng) if rng.random() < SIGN_SHARE else world.sample_for_training(rng)
        yield draw(picture, int(rng.integers(EVALUATION_SEED)), SIZE if rng.random() < 0.5 else SIZE // 2)


def for_evaluation(count: int, seed: int) -> Iterator[Drawing]:
    """Of seeds that training never uses, with combinations that it never sees."""
    rng = np.random.default_rng(EVALUATION_SEED + seed)
    for index in range(count):
        picture = sample_signs(rng) if rng.random() < SIGN_SHARE else world.sample(rng)
        yield draw(picture, EVALUATION_SEED + seed * 10 + index)


def moved(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """Mirrored, larger, smaller, squeezed or elsewhere: pictures of every shape are squeezed into a square."""
    pixels, alpha = drawing.pixels, drawing.alpha
    if rng.random() < 0.5:
        pixels, alpha = pixels[:, ::-1], alpha[:, ::-1]
    if rng.random() < 0.5:
        scales = rng.uniform(0.75, 1.5) * rng.uniform(0.85, 1.18, 2)
        room = SIZE * (1 - scales)
        shift = [float(rng.uniform(min(0.0, left), max(0.0, left))) for left in room]
        matrix = np.array([[scales[0], 0, shift[0]], [0, scales[1], shift[1]]], np.float32)
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        pixels = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (SIZE, SIZE), flags=flags, borderMode=border)
        alpha = cv2.warpAffine(np.ascontiguousarray(alpha), matrix, (SIZE, SIZE), flags=flags, borderMode=border)
    return Drawing(np.ascontiguousarray(pixels), np.ascontiguousarray(alpha))


def training_pool(seed: int) -> DrawingPool[Drawing]:
    return DrawingPool(for_training(seed), moved, np.random.default_rng(seed), size=1200, fresh_share=0.25)
