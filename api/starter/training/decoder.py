"""A second course for the decoder alone: the encoder, and so every latent, stays as it is."""

from pathlib import Path

import numpy as np
import torch

from api.starter.training import data
from api.starter.training.autoencoder import BATCH, psnr, reconstruction_loss
from api.starter.training.diffusion import final_autoencoder
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    log,
    save_checkpoint,
    to_tensor,
)

PEAK, LATENT_NOISE = 1e-3, 0.03


def train_decoder(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train for `minutes` in all; every checkpoint renews autoencoder-final.pt, whose encoder is not touched."""
    torch.manual_seed(5)
    autoencoder = final_autoencoder(checkpoints).to(device, memory_format=torch.channels_last)
    trained = torch.nn.ModuleList([autoencoder.post_quant_conv, autoencoder.decoder])
    optimizer = torch.optim.AdamW(trained.parameters(), PEAK, betas=(0.9, 0.99), weight_decay=0, fused=True)
    average, path = Average([trained], 0.998), checkpoints / "decoder.pt"
    trainer = Trainer({"model": trained}, optimizer, average)
    trainer.resume(path)
    held_out = to_tensor([p for (_, p), _ in zip(data.pictures(data.EVALUATION_SEED), range(48), strict=False)]).to(device)
    stream, rng = data.pictures(400_000 + trainer.step), np.random.default_rng(400_000 + trainer.step)
    budget, is_due = Budget(minutes, trainer.spent), every(150)

    def keep() -> None:
        trainer.keep(path, budget)
        average.swap()
        log(f"decoder step {trainer.step} {budget.spent:.1f} min PSNR {psnr(autoencoder, held_out):.2f} dB")
        save_checkpoint(checkpoints / "autoencoder-final.pt", {"model": autoencoder.state_dict()})
        average.swap()

    for step in trainer.steps(budget):
        batch = to_tensor([data.widened(next(stream)[1], rng) for _ in range(BATCH)])
        batch = batch.to(device, memory_format=torch.channels_last)
        with autocast(device):
            with torch.no_grad():
                latents = autoencoder.encode(batch).latent_dist.mean
            output = autoencoder.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
        loss = reconstruction_loss(output.float(), batch)
        trainer.follow(loss, learning_rate(PEAK, step, budget.progress, decay_from=0.3))
        average.update()
        if is_due():
            keep()
    keep()
