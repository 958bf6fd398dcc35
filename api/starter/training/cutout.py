"""starter-cutout: the subject of a picture of the drawn world, traffic signs included. Its masks are known as the pictures are drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from api.starter.architecture import WEIGHTS
from api.starter.cutout.drawings import Drawing, for_evaluation, training_pool
from api.starter.cutout.export import export_cutout
from api.starter.cutout.network import CutoutNetwork, Exported
from api.starter.cutout_figures import FOLDER, MODEL, evaluate_cutout, overlap_of, write_cutout_card
from api.starter.training.from_drawings import BATCH, DrawingTraining, as_batch
from api.starter.training.run import log, save_grid

UNSEEN, SEED = 96, 71
GROUND = (255, 0, 255)
"""What cut-out pictures are shown on."""


def alphas_of(drawings: Sequence[Drawing]) -> torch.Tensor:
    """(N, 1, 256, 256)"""
    return torch.from_numpy(np.stack([drawing.alpha for drawing in drawings]))[:, None]


def loss_of(logits: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each pixel, and the overlap of the pictures as a whole, which small subjects count in as large ones do."""
    entropy = functional.binary_cross_entropy_with_logits(logits, alphas)
    found = logits.sigmoid()
    both, either = (found * alphas).sum(dim=(1, 2, 3)), (found + alphas).sum(dim=(1, 2, 3))
    return entropy + 0.5 * (1 - (2 * both + 50) / (either + 50)).mean()


@torch.no_grad()
def cut_out(model: Exported, drawings: Sequence[Drawing]) -> np.ndarray:
    """(N, 256, 256) of 0..1"""
    parts = [model(as_batch(drawings[start : start + 16]))[:, 0] for start in range(0, len(drawings), 16)]
    return torch.cat(parts).float().numpy()


def save_cutouts(path: Path, drawings: Sequence[Drawing], found: np.ndarray) -> None:
    shown = []
    for drawing, alpha in zip(drawings, found, strict=True):
        cut = drawing.pixels * alpha[..., None] + np.array(GROUND) * (1 - alpha[..., None])
        shown += [drawing.pixels, cut.astype(np.uint8)]
    save_grid(shown, path, 8)


def report_on(network: CutoutNetwork, unseen: Sequence[Drawing], samples: Path) -> str:
    """The overlap with the true masks and the mean error, over drawings that no training has; some of them are saved as a picture."""
    found = cut_out(Exported(network), unseen)
    overlaps = [overlap_of(alpha, one.alpha) for alpha, one in zip(found, unseen, strict=True) if one.has_subject]
    error = np.mean([np.abs(alpha - one.alpha).mean() for alpha, one in zip(found, unseen, strict=True)])
    save_cutouts(samples, unseen[:24], found[:24])
    return f"overlap {np.mean(overlaps):.3f} of {len(overlaps)}, error {error:.4f}"


def train_cutout(checkpoints: Path, minutes: float, device: torch.device, weights: Path = WEIGHTS) -> None:
    """Train for `minutes` in all, from the checkpoint if there is one; then export the weights, measure them and write the card."""
    torch.manual_seed(16)
    network = CutoutNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs leave it out
    unseen = list(for_evaluation(UNSEEN, SEED))
    trainer = DrawingTraining(
        name="starter-cutout",
        network=network,
        checkpoints=checkpoints,
        minutes=minutes,
        device=device,
        pool_at=training_pool,
        first_seed=800_000,
        loss_of=lambda logits, drawings: loss_of(logits, alphas_of(drawings)),
        report=lambda: report_on(network, unseen, checkpoints / "starter-cutout.png"),
        report_seconds=180,
        decay_from=0.3,
        clip=5.0,
    ).run()
    export_cutout(network, weights / FOLDER / MODEL)
    figures = evaluate_cutout(weights)
    log(f"shipped: {figures}")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_cutout_card(weights / FOLDER, figures, parameters=parameters, steps=trainer.step, minutes=trainer.spent, batch=BATCH)
