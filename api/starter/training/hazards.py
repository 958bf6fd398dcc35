"""starter-hazards: which hazard is in which cell of a drawn road, trained on drawings alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from api.starter.architecture import WEIGHTS
from api.starter.hazard_card import evaluate_hazards, write_hazard_card
from api.starter.hazard_figures import ask
from api.starter.training import data
from api.starter.training.hazard_export import BALANCED, export_hazards
from api.starter.training.hazard_network import FINE, SIZE, HazardNetwork
from api.starter.training.run import Budget, Trainer, autocast, every, learning_rate, log
from api.starter.world.road import CLASSES, HEIGHT, MIRRORED, WIDTH, render_road, sample_road, targets_of

DRAWINGS, PEAK = 12, 2e-3
DRAWN = (WIDTH // 2, HEIGHT // 2)
"""Width and height in pixels of a drawing for training."""
POSITIVE, DENSE = 2.0, 1.0
"""The weight of a hazard that is there against one that isn't; and of the loss of the feature map's places."""
CHECKED = 150
"""Drawings that a running training is measured on."""


@dataclass(frozen=True)
class Batch:
    pictures: torch.Tensor
    """(N, 3, 224, 224) of 0..1"""
    targets: torch.Tensor
    """(N, cells, outputs) of 0 and 1"""
    labels: torch.Tensor
    """(N, 224, 224): the hazard of each pixel"""


def squeezed(pixels: np.ndarray) -> np.ndarray:
    """As the backend does it: the whole picture in a square."""
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def drawings(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Endless: the picture (224, 224, 3), its targets and its labels (224, 224)."""
    rng = np.random.default_rng(seed)
    while True:
        pixels, labels = render_road(sample_road(rng), int(rng.integers(data.EVALUATION_SEED)), *DRAWN)
        small = np.asarray(Image.fromarray(labels).resize((SIZE, SIZE), Image.Resampling.NEAREST))
        yield squeezed(pixels), targets_of(labels), small


def mirrored_targets(targets: np.ndarray) -> np.ndarray:
    """Of the mirrored picture: every row of cells is the same from left and right."""
    return targets[MIRRORED]


def batches(seed: int) -> Iterator[Batch]:
    """Each drawing, and the same mirrored."""
    stream = drawings(seed)
    while True:
        pictures, targets, labels = zip(*(next(stream) for _ in range(DRAWINGS)), strict=True)
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        maps = torch.from_numpy(np.stack(labels)).long()
        both = torch.from_numpy(np.stack([*targets, *map(mirrored_targets, targets)]))
        yield Batch(torch.cat([stacked, stacked.flip(3)]), both, torch.cat([maps, maps.flip(2)]))


def worn(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Other light and colours for each picture, noise, and now and then a blur."""
    count = len(pictures)
    if rng.random() < 0.4:
        low = functional.interpolate(pictures, scale_factor=float(rng.uniform(0.6, 0.95)), mode="bilinear", antialias=True)
        pictures = functional.interpolate(low, size=(SIZE, SIZE), mode="bilinear")
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (count, 3, 1, 1))).float() * float(rng.uniform(0.85, 1.1))
    shift = torch.from_numpy(rng.uniform(-0.06, 0.06, (count, 1, 1, 1))).float()
    noise = torch.randn_like(pictures) * float(rng.uniform(0, 0.04))
    return (pictures * gain + shift + noise).clamp(0, 1)


def loss_of(network: HazardNetwork, batch: Batch) -> torch.Tensor:
    """Binary cross-entropy of the cells, and of what share of each place of the feature map a hazard covers."""
    with autocast(batch.pictures.device):
        fine, deep = network.features(batch.pictures)
        answers, dense = network.answers(fine, deep), network.dense(fine)
    answers = answers.float().view(batch.targets.shape)
    weight = torch.full((len(CLASSES) + 1,), POSITIVE)
    weight[-1] = 1.0
    cells = functional.binary_cross_entropy_with_logits(answers, batch.targets, pos_weight=weight)
    shares = functional.one_hot(batch.labels, len(CLASSES) + 1).permute(0, 3, 1, 2).float()
    shares = functional.avg_pool2d(shares, SIZE // FINE)
    return cells + DENSE * functional.binary_cross_entropy_with_logits(dense.float(), shares)


def train_hazards(checkpoints: Path, minutes: float, device: torch.device, weights: Path = WEIGHTS) -> None:
    """Train for `minutes` in all, from the checkpoint if there is one; then export the weights, measure them and write the card."""
    torch.manual_seed(13)
    network, path = HazardNetwork().to(device), checkpoints / "hazards.pt"
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    trainer = Trainer({"model": network}, torch.optim.AdamW(network.parameters(), PEAK, weight_decay=0.02, fused=True))
    trainer.resume(path)
    stream, rng = batches(700_000 + trainer.step), np.random.default_rng(700_000 + trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(120)
    losses: list[float] = []

    def keep() -> None:
        network.eval()
        with torch.no_grad():
            figures = ask(lambda given: network(torch.from_numpy(given)).numpy(), CHECKED, data.EVALUATION_SEED + 60).figures()
        network.train()
        mean = np.mean(losses[-100:] or [0.0])
        log(f"hazards step {trainer.step} {budget.spent:.1f} min, loss {mean:.4f}, {figures.summary}")
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        batch = next(stream)
        pictures = worn(batch.pictures, rng).to(memory_format=torch.channels_last)
        loss = loss_of(network, Batch(pictures, batch.targets, batch.labels))
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.25), clip=5.0)
        losses.append(float(loss.detach()))
        if is_due():
            keep()
    keep()
    folder = export_hazards(checkpoints, weights)
    figures = evaluate_hazards(folder)
    log(f"shipped: {figures.summary}")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_hazard_card(
        folder, figures, parameters=parameters, steps=trainer.step, minutes=trainer.spent, batch=2 * DRAWINGS, balanced=BALANCED
    )
