"""The autoencoder: 128 x 128 pictures to 32 x 32 x 4 latents and back, without adversarial or perceptual terms."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from api.starter.architecture import make_autoencoder
from api.starter.training import data
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    save_grid,
    to_pictures,
    to_tensor,
)

BATCH, PEAK = 8, 1.5e-3
LATENT_NOISE = 0.05


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 + 0.5 L1 of the gradients + 0.5 MSE, on pictures in -1..1."""
    difference = output - target
    edges = difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
    return difference.abs().mean() + 0.5 * edges + 0.5 * difference.square().mean()


def _step_loss(autoencoder: AutoencoderKL, batch: torch.Tensor) -> torch.Tensor:
    with autocast(batch.device):
        latents = autoencoder.encode(batch).latent_dist.mean
        output = autoencoder.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
    spread = (latents.float().square().mean(dim=(0, 2, 3)) - 1).square().mean()
    return reconstruction_loss(output.float(), batch) + 0.01 * spread


@torch.no_grad()
def psnr(autoencoder: AutoencoderKL, batch: torch.Tensor) -> float:
    """Mean over pictures of 10 log10(255^2 / MSE), after rounding to 8 bits."""
    output = torch.from_numpy(to_pictures(reconstruct(autoencoder, batch)).astype(np.float32))
    target = torch.from_numpy(to_pictures(batch).astype(np.float32))
    return (10 * torch.log10(255**2 / (output - target).square().mean(dim=(1, 2, 3)).clamp_min(1e-3))).mean().item()


@torch.no_grad()
def reconstruct(autoencoder: AutoencoderKL, batch: torch.Tensor) -> torch.Tensor:
    with autocast(batch.device):
        return autoencoder.decode(autoencoder.encode(batch).latent_dist.mean).sample.float()


def train_autoencoder(checkpoints: Path, minutes: float, device: torch.device) -> AutoencoderKL:
    """Train for `minutes` in all, from the checkpoint if there is one; the average of the weights is what comes back."""
    torch.manual_seed(1)
    autoencoder = make_autoencoder().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), PEAK, betas=(0.9, 0.99), weight_decay=0)
    average, path = Average([autoencoder], 0.998), checkpoints / "autoencoder.pt"
    trainer = Trainer({"model": autoencoder}, optimizer, average)
    trainer.resume(path)
    held_out = to_tensor([p for (_, p), _ in zip(data.pictures(data.EVALUATION_SEED), range(48), strict=False)]).to(device)
    stream, rng = data.pictures(trainer.step + 1), np.random.default_rng(trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(180)

    def keep() -> None:
        average.swap()
        log(f"autoencoder step {trainer.step} {budget.spent:.1f} min PSNR {psnr(autoencoder, held_out):.2f} dB")
        pairs = np.concatenate([to_pictures(held_out[:8]), to_pictures(reconstruct(autoencoder, held_out[:8]))])
        save_grid(pairs, checkpoints / "samples" / f"autoencoder-{trainer.step:06d}.png", 8)
        average.swap()
        trainer.keep(path, budget)

    for step in trainer.steps(budget):
        batch = to_tensor([data.widened(next(stream)[1], rng) for _ in range(BATCH)]).to(
            device, memory_format=torch.channels_last
        )
        loss = _step_loss(autoencoder, batch)
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.35))
        average.update()
        if step % 50 == 0:
            log(f"autoencoder step {step} {budget.spent:.1f} min loss {loss.item():.4f}")
        if is_due():
            keep()
    keep()
    average.swap()
    return autoencoder
