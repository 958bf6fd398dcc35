"""Drawings with boxes, as the detector learns from them and is measured on them."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from api.starter import world
from api.starter.detector.network import SIZE
from api.starter.drawing_pool import DrawingPool
from api.starter.training.data import EVALUATION_SEED
from api.starter.world.labels import NAMES
from api.starter.world.signs import SignPicture, sample_signs

SIGN_SHARE = 0.4
GREY = (114, 114, 114)
"""What is around a picture that is not square, in this and other detectors of the YOLO family."""
KEPT_SHARE = 0.4
"""The part of a box that must lie within a moved picture for it to stay."""


@dataclass(frozen=True)
class Drawing:
    """(256, 256, 3) uint8; class numbers, (n,); corners x0, y0, x1, y1 in pixels, (n, 4) float32."""

    pixels: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray


def draw(picture: world.Picture | SignPicture, seed: int, size: int = SIZE) -> Drawing:
    """Drawn at `size` and enlarged to 256, as the pictures of `starter` are."""
    pixels, boxes = world.render_with_boxes(picture, seed, size)
    if size != SIZE:
        pixels = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.float32).reshape(-1, 4) * (SIZE / size)
    return Drawing(pixels, np.array([NAMES.index(box.label) for box in boxes], np.int64), corners)


def for_training(seed: int) -> Iterator[Drawing]:
    """Endless, the same for the same seed, without what is held out for evaluation; every second one drawn at 128 pixels."""
    rng = np.random.default_rng(seed)
    while True:
        picture = sample_signs(rng) if rng.random() < SIGN_SHARE else world.sample_for_training(rng)
        yield draw(picture, int(rng.integers(EVALUATION_SEED)), SIZE if rng.random() < 0.5 else SIZE // 2)


def for_evaluation(count: int, seed: int = EVALUATION_SEED + 11) -> Iterator[Drawing]:
    """Of seeds that training never uses, with combinations that it never sees. Those of the default seed are looked at meanwhile."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        picture = sample_signs(rng) if rng.random() < SIGN_SHARE else world.sample(rng)
        yield draw(picture, seed * 10 + index)


def moved(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """Now and then larger, smaller or elsewhere in the picture. Never mirrored: left and right mean something on signs."""
    if rng.random() < 0.5:
        return drawing
    scale = float(rng.uniform(0.55, 1.3))
    dx, dy = (float(rng.uniform(min(0, SIZE * (1 - scale)), max(0, SIZE * (1 - scale)))) for _ in range(2))
    matrix = np.array([[scale, 0, dx], [0, scale, dy]], np.float32)
    pixels = cv2.warpAffine(drawing.pixels, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA, borderValue=GREY)
    whole = drawing.boxes * scale + np.array([dx, dy, dx, dy], np.float32)
    boxes = whole.clip(0, SIZE)
    area, before = (np.prod(corners[:, 2:] - corners[:, :2], axis=1) for corners in (boxes, whole))
    kept = area > KEPT_SHARE * before
    return Drawing(pixels, drawing.classes[kept], boxes[kept])


def training_pool(seed: int) -> DrawingPool[Drawing]:
    return DrawingPool(for_training(seed), moved, np.random.default_rng(seed), size=1500, fresh_share=0.3)
