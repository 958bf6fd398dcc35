"""Which models there are to train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.starter.training.autoencoder import train_autoencoder
from api.starter.training.clip import train_clip

MODELS: dict[str, Callable[[Path, float], Any]] = {
    "autoencoder": train_autoencoder,
    "clip": train_clip,
}


def train(model: str, checkpoints: Path, minutes: float) -> None:
    """Train for `minutes` in all, earlier runs from the same folder counted in."""
    MODELS[model](checkpoints, minutes)
