"""Which models there are to train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.starter.training.autoencoder import train_autoencoder
from api.starter.training.clip import train_clip
from api.starter.training.decoder import train_decoder
from api.starter.training.diffusion import train_diffusion
from api.starter.training.judge import train_judge

MODELS: dict[str, Callable[[Path, float], Any]] = {
    "autoencoder": train_autoencoder,
    "clip": train_clip,
    "decoder": train_decoder,
    "judge": train_judge,
    "diffusion": train_diffusion,
}


def train(model: str, checkpoints: Path, minutes: float) -> None:
    """Train for `minutes` in all, earlier runs from the same folder counted in."""
    MODELS[model](checkpoints, minutes)
