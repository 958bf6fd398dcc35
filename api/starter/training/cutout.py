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
from api.starter.training.judge import worn
from api.starter.training.run import Average, Budget, Trainer, autocast, every, learning_rate, log, save_grid, to_tensor

BATCH, PEAK, DECAY = 16, 2e-3, 0.998
UNSEEN, SEED = 96, 71
GROUND = (255, 0, 255)
"""What cut-out pictures are shown on."""


def as_batch(drawings: Sequence[Drawing]) -> torch.Tensor:
    """(N, 3, 256, 256) in 0..1."""
    return (to_tensor([drawing.pixels for drawing in drawings]) + 1) / 2


def alphas_of(drawings: Sequence[Drawing]) -> torch.Tensor:
    """(N, 1, 256, 256)"""
    return torch.from_numpy(np.stack([drawing.alpha for drawing in drawings]))[:, None]


def loss_of(logits: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each pixel, and the overlap of the pictures as a whole, which small subjects count in as large ones do."""
    entropy = functional.binary_cross_entropy_with_logits(logits, alphas)
    found = logits.sigmoid()
    both, either = (found * alphas).sum(dim=(1, 2, 3)), (found + alphas).sum(dim=(1, 2, 3))
    return entropy + 0.5 * (1 - (2 * both + 50) / (either + 50)).mean()


def trainer_of(network: CutoutNetwork) -> Trainer:
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}]
    return Trainer({"model": network}, torch.optim.AdamW(groups, PEAK, fused=True), Average([network], DECAY, statistics=True))


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


def train_cutout(checkpoints: Path, minutes: float, device: torch.device, weights: Path = WEIGHTS) -> None:
    """Train for `minutes` in all, from the checkpoint if there is one; then export the weights, measure them and write the card."""
    torch.manual_seed(16)
    network, path = CutoutNetwork().to(memory_format=torch.channels_last), checkpoints / "starter-cutout.pt"  # type: ignore[call-overload]  # torch's stubs leave it out
    trainer = trainer_of(network)
    trainer.resume(path)
    pool, rng = training_pool(800_000 + trainer.step), np.random.default_rng(800_000 + trainer.step)
    unseen = list(for_evaluation(UNSEEN, SEED))
    budget, keep_is_due, log_is_due = Budget(minutes, trainer.spent), every(180), every(30)

    def keep() -> None:
        trainer.average.swap()
        network.eval()
        found = cut_out(Exported(network), unseen)
        overlaps = [overlap_of(alpha, one.alpha) for alpha, one in zip(found, unseen, strict=True) if one.has_subject]
        error = np.mean([np.abs(alpha - one.alpha).mean() for alpha, one in zip(found, unseen, strict=True)])
        spent = f"{budget.spent:.1f} min"
        log(f"starter-cutout step {trainer.step} {spent} overlap {np.mean(overlaps):.3f} of {len(overlaps)}, error {error:.4f}")
        save_cutouts(checkpoints / "starter-cutout.png", unseen[:24], found[:24])
        network.train()
        trainer.average.swap()
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        drawings = [pool.take() for _ in range(BATCH)]
        pictures = as_batch(drawings)
        pictures[: BATCH // 2] = (worn(pictures[: BATCH // 2] * 2 - 1, rng) + 1) / 2
        with autocast(device):
            logits = network(pictures.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), alphas_of(drawings))
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.3), clip=5.0)
        trainer.average.update()
        if log_is_due():
            log(f"starter-cutout step {trainer.step} {budget.spent:.1f} of {minutes:.0f} min loss {loss.item():.3f}")
        if keep_is_due():
            keep()
    keep()
    trainer.average.swap()
    export_cutout(network.eval(), weights / FOLDER / MODEL)
    figures = evaluate_cutout(weights)
    log(f"shipped: {figures}")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    write_cutout_card(weights / FOLDER, figures, parameters=parameters, steps=trainer.step, minutes=trainer.spent, batch=BATCH)
