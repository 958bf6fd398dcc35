"""starter-upscaler: drawings four times as wide and high, learnt from ones that were drawn large and made small."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from api.loading.upscaling.srvgg import SRVGGNetCompact
from api.starter import world
from api.starter.architecture import WEIGHTS as FOLDER
from api.starter.training.data import EVALUATION_SEED
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    need_checkpoint,
)
from api.starter.world.posters import render_poster, sample_poster

SCALE, WIDTH, CONVOLUTIONS = 4, 48, 12
SIZE = 512
"""Of a drawing before it is made small."""
CROP, CROPS, DRAWINGS = 48, 4, 4
"""Pixels a side of what the network is given; so many from each of so many drawings are a batch."""
BATCH = CROPS * DRAWINGS
POSTERS, SOFTENED = 0.25, 0.3
"""Shares: of posters among the drawings, and of those that are blurred a little, as pictures that a model made are."""
PEAK, DECAY = 1e-3, 0.998
KERNELS = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.HAMMING)
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Pair:
    """The same picture small and large: (h, w, 3) and (4 h, 4 w, 3), uint8."""

    small: np.ndarray
    large: np.ndarray


def make_small(large: np.ndarray, kernel: Image.Resampling) -> np.ndarray:
    height, width = large.shape[:2]
    return np.asarray(Image.fromarray(large).resize((width // SCALE, height // SCALE), kernel))


def draw_large(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < POSTERS:
        poster = render_poster(sample_poster(rng))
        height, width = (side // SCALE * SCALE for side in poster.shape[:2])
        return poster[:height, :width]
    return world.render(world.sample_for_training(rng), int(rng.integers(EVALUATION_SEED)), SIZE)


def crops(rng: np.random.Generator) -> list[Pair]:
    """Of one drawing."""
    large = draw_large(rng)
    small = make_small(large, KERNELS[int(rng.integers(len(KERNELS)))])
    if rng.random() < SOFTENED:
        small = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.3, 0.7)))
    pairs = []
    for _ in range(CROPS):
        y, x = (int(rng.integers(side - CROP + 1)) for side in small.shape[:2])
        inside = slice(SCALE * y, SCALE * (y + CROP)), slice(SCALE * x, SCALE * (x + CROP))
        pairs.append(turned(Pair(small[y : y + CROP, x : x + CROP], large[inside]), int(rng.integers(8))))
    return pairs


def turned(pair: Pair, way: int) -> Pair:
    """One of the eight ways to turn and mirror a square."""
    small, large = (np.rot90(pixels, way % 4) for pixels in (pair.small, pair.large))
    return Pair(small[:, ::-1], large[:, ::-1]) if way >= 4 else Pair(small, large)


def batches(seed: int) -> Iterator[list[Pair]]:
    rng = np.random.default_rng(seed)
    while True:
        yield [pair for _ in range(DRAWINGS) for pair in crops(rng)]


def as_tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    """(n, 3, h, w) in 0..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class TrainedUpscaler:
    network: SRVGGNetCompact
    folder: Path
    """Where its weights were written."""
    steps: int
    minutes: float


def train_upscaler(checkpoints: Path, minutes: float, device: torch.device) -> TrainedUpscaler:
    """Train for `minutes` in all, from the checkpoint if there is one; then export the weights."""
    torch.manual_seed(7)
    network, path = SRVGGNetCompact(WIDTH, CONVOLUTIONS, SCALE).to(device), checkpoints / "starter-upscaler.pt"
    optimizer = torch.optim.AdamW(network.parameters(), PEAK, weight_decay=0.0, fused=True)
    trainer = Trainer({"model": network}, optimizer, Average([network], DECAY))
    trainer.resume(path)
    stream, budget, is_due = batches(700_000 + trainer.step), Budget(minutes, trainer.spent), every(60)
    losses: list[float] = []
    for step in trainer.steps(budget):
        pairs = next(stream)
        small, large = as_tensor([pair.small for pair in pairs]), as_tensor([pair.large for pair in pairs])
        with autocast(device):
            made = network(small.to(device))
        loss = (made.float() - large.to(device)).square().add(1e-6).sqrt().mean()
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.3), clip=1.0)
        trainer.average.update()
        losses.append(float(loss.detach()))
        if is_due():
            log(
                f"starter-upscaler step {trainer.step} {budget.spent:.1f} of {minutes:.0f} min loss {np.mean(losses[-100:]):.5f}"
            )
            trainer.keep(path, budget)
    trainer.average.swap()
    trainer.keep(path, budget)
    return TrainedUpscaler(network.eval(), export_upscaler(checkpoints), trainer.step, trainer.spent)


def export_upscaler(checkpoints: Path, weights: Path = FOLDER) -> Path:
    """weights/starter-upscaler: fp16 on disk."""
    state = need_checkpoint(checkpoints / "starter-upscaler.pt")["model"]
    folder = weights / "starter-upscaler"
    folder.mkdir(exist_ok=True)
    half = {name: value.half().contiguous() for name, value in state.items()}
    save_file(half, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
