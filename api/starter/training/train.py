"""Which models there are to train, in the order in which they build on each other."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from api.starter import upscaler_figures
from api.starter.nima_figures import evaluate_nima, write_card
from api.starter.training.autoencoder import train_autoencoder
from api.starter.training.clip import train_clip
from api.starter.training.control import train_control
from api.starter.training.cutout import train_cutout
from api.starter.training.decoder import train_decoder
from api.starter.training.detector import train_detector
from api.starter.training.diffusion import train_diffusion
from api.starter.training.export import export_clip, export_starter, take_up_starter
from api.starter.training.hazards import train_hazards
from api.starter.training.judge import export_judge, train_judge
from api.starter.training.lora import train_lora
from api.starter.training.nima import train_nima
from api.starter.training.run import chosen_device
from api.starter.training.tokenizer import train_tokenizer
from api.starter.training.upscaler import train_upscaler
from api.starter.training.vlm import train_vlm
from api.starter.training.words import train_words


def _export(checkpoints: Path, minutes: float, device: torch.device) -> None:
    export_judge(checkpoints)
    export_clip(checkpoints)
    export_starter(checkpoints)


def _take_up(checkpoints: Path, minutes: float, device: torch.device) -> None:
    take_up_starter(checkpoints, os.cpu_count() or 1)


def _train_nima(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train, then measure and write the card."""
    trained = train_nima(checkpoints, minutes, device)
    write_card(trained.folder, evaluate_nima(trained.model), steps=trained.steps, minutes=trained.minutes)


def _train_upscaler(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train, then measure and write the card."""
    trained = train_upscaler(checkpoints, minutes, device)
    figures = upscaler_figures.evaluate_upscaler(trained.network)
    upscaler_figures.write_card(trained.folder, trained.network, figures, steps=trained.steps, minutes=trained.minutes)


MODELS: dict[str, Callable[[Path, float, torch.device], Any]] = {
    "tokenizer": lambda checkpoints, minutes, device: train_tokenizer(),
    "autoencoder": train_autoencoder,
    "clip": train_clip,
    "words": train_words,
    "diffusion": train_diffusion,
    "decoder": train_decoder,
    "judge": train_judge,
    "nima": _train_nima,
    "starter-upscaler": _train_upscaler,
    "starter-vlm": train_vlm,
    "starter-hazards": train_hazards,
    "starter-detector": train_detector,
    "starter-cutout": train_cutout,
    "lora": train_lora,
    "starter-control": train_control,
    "export": _export,
    "take-up": _take_up,
}


def train(model: str, checkpoints: Path, minutes: float, device: str | None = None) -> None:
    """Train for `minutes` in all, earlier runs from the same folder counted in."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    MODELS[model](checkpoints, minutes, chosen_device(device))
