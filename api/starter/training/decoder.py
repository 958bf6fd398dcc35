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
    autocast,
    every,
    learning_rate,
    load_checkpoint,
    log,
    save_checkpoint,
    set_learning_rate,
    steps_until_done,
    to_tensor,
)

PEAK, LATENT_NOISE = 1e-3, 0.03


def train_decoder(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train for `minutes` in all; every checkpoint renews autoencoder-final.pt, whose encoder is not touched."""
    torch.manual_seed(5)
    autoencoder = final_autoencoder(checkpoints).to(device, memory_format=torch.channels_last)
    trained = torch.nn.ModuleList([autoencoder.post_quant_conv, autoencoder.decoder])
    optimizer = torch.optim.AdamW(trained.parameters(), PEAK, betas=(0.9, 0.99), weight_decay=0, fused=True)
    average, path, step, spent = Average([trained], 0.998), checkpoints / "decoder.pt", 0, 0.0
    if state := load_checkpoint(path):
        trained.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load(state["average"])
        step, spent = state["step"], state["spent"]
    held_out = to_tensor([p for (_, p), _ in zip(data.pictures(data.EVALUATION_SEED), range(48), strict=False)]).to(device)
    stream, rng = data.pictures(400_000 + step), np.random.default_rng(400_000 + step)
    budget, look, done = Budget(minutes, spent), every(150), step

    def keep() -> None:
        save_checkpoint(
            path,
            {
                "model": trained.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state(),
                "step": done,
                "spent": budget.spent,
            },
        )
        average.swap()
        log(f"decoder step {done} {budget.spent:.1f} min PSNR {psnr(autoencoder, held_out):.2f} dB")
        save_checkpoint(checkpoints / "autoencoder-final.pt", {"model": autoencoder.state_dict()})
        average.swap()

    for done in steps_until_done(budget, step):
        batch = to_tensor([data.widened(next(stream)[1], rng) for _ in range(BATCH)])
        batch = batch.to(device, memory_format=torch.channels_last)
        with autocast(device):
            with torch.no_grad():
                latents = autoencoder.encode(batch).latent_dist.mean
            output = autoencoder.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
        loss = reconstruction_loss(output.float(), batch)
        set_learning_rate(optimizer, learning_rate(PEAK, done, budget.progress, decay_from=0.3))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        average.update()
        if look():
            keep()
    keep()
