"""UNet and text encoder together, by v-prediction on the latents, in one process a core."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch.nn import functional

from api.starter import world
from api.starter.architecture import (
    make_autoencoder,
    make_pipeline,
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    make_unet,
)
from api.starter.training import data
from api.starter.training.clip import tokenize
from api.starter.training.latents import LatentPool, standardise
from api.starter.training.run import (
    Average,
    Budget,
    Trainer,
    autocast,
    every,
    learning_rate,
    load_checkpoint,
    log,
    need_checkpoint,
    save_checkpoint,
    save_grid,
)
from api.starter.training.together import average_over_processes, join_meeting, run_together, time_is_up
from api.starter.training.words import load_text_encoder

BATCH, PEAK, AVERAGE_EVERY = 32, 1e-3, 8
FRESH, POOL = 8, 24_000
CPU = torch.device("cpu")
TEXT_EVERY, TEXT_LR_SCALE = 4, 0.2
"""The text encoder, which begins well, learns at every fourth step, and slowly: its backward costs a quarter of the time."""
TOLD_FULLY = 0.8
"""The share of captions that name every thing in a scene: from the others it can't be learnt what belongs to which word."""
NOISY = 0.6
"""Timesteps are 1000 u^0.6: 45 % of them above 700 in place of 30 %. Below 500 the caption hardly changes the loss (measured)."""
OFTENER = {"shapes": 0.7, "food": 1.3, "poster": 2.2, "birds": 1.6, "stars": 1.4}
"""How much oftener than its share of the world a kind, or a thing, is learnt from: shapes are right early; posters are few and
stay grey; birds and stars come last."""
THINGS = 5.0
"""How much more the places of things weigh than the ground, at no noise; with noise less, by the fourth power of 1 - t / 1000: while
noise hides where a thing is, to weigh the places that a picture happens to fill makes the likeliest picture one with things
everywhere (seen, with no power and with the square: a caption's one balloon drawn three times)."""
PROMPTS = (
    "A serene lake at sunset",
    "a calm lake at night with a full moon and stars",
    "a sailing boat on the sea by day",
    "mountains at sunrise with a hot-air balloon",
    "rolling hills by day with a rainbow",
    "a house in a forest at night",
    "a desert at noon with cacti",
    "a flower meadow by day with round trees",
    "a city skyline at night with stars",
    "a snowy landscape at sunset with pine trees",
    "a beach at sunset with palm trees",
    "a lake in the rain",
    "a red circle to the left of a blue square",
    "a green star above a yellow triangle",
    "three purple squares",
    "a black triangle below an orange circle",
    "a pizza with pepperoni and basil on a wooden board",
    "a red apple on a plate",
    "a chocolate cake on a pink table",
    "a purple to pink gradient with confetti",
)


class Loss:
    """E ||v - v_theta||^2 with the weight min(SNR + 1, 6) / (SNR + 1) (Hang et al., arXiv:2303.09556)."""

    def __init__(self) -> None:
        self._alphas = make_scheduler().alphas_cumprod.float()

    def __call__(
        self,
        predict: Any,
        latents: torch.Tensor,
        things: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`predict(noisy, timesteps)` gives v; timesteps are stratified over the batch. `things`: (N, 32, 32) shares of things."""
        count = len(latents)
        places = (torch.randperm(count) + torch.rand(count)) / count
        steps = (places**NOISY * len(self._alphas)).long().clamp(max=len(self._alphas) - 1).to(latents.device)
        signal = self._alphas.to(latents.device)[steps].clamp(0, 1).view(-1, 1, 1, 1)
        noise = torch.randn_like(latents)
        noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        target = signal.sqrt() * noise - (1 - signal).sqrt() * latents
        errors = functional.mse_loss(predict(noisy, steps).float(), target, reduction="none")
        if things is not None:
            clearness = 1 - steps.view(-1, 1, 1, 1) / len(self._alphas)
            errors = errors * (1 + THINGS * clearness**4 * things[:, None])
        errors = errors.mean(dim=(1, 2, 3))
        # SNR + 1 is 1 / (1 - signal), so the weight is min(1, 6 (1 - signal)).
        return (errors * (6 * (1 - signal.flatten())).clamp(max=1)).mean()


def final_autoencoder(checkpoints: Path) -> AutoencoderKL:
    """The averaged autoencoder with standardised latents; made once, for latents in the pool depend on it."""
    path, autoencoder = checkpoints / "autoencoder-final.pt", make_autoencoder()
    if state := load_checkpoint(path):
        autoencoder.load_state_dict(state["model"])
        return autoencoder.eval()
    state = need_checkpoint(checkpoints / "autoencoder.pt")
    for parameter, value in zip(autoencoder.parameters(), state["average"]["values"], strict=True):
        parameter.data.copy_(value)
    standardise(autoencoder, [p for (_, p), _ in zip(data.pictures(5), range(256), strict=False)])
    save_checkpoint(path, {"model": autoencoder.state_dict()})
    return autoencoder.eval()


class DiffusionTrainer(Trainer):
    """UNet and text encoder."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.device, self.tokenizer = device, make_tokenizer()
        self.unet = make_unet().to(device, memory_format=torch.channels_last)
        self.text_encoder = make_text_encoder(self.tokenizer).to(device)
        self._loss = Loss()
        groups = [{"params": self.unet.parameters()}, {"params": self.text_encoder.parameters(), "lr_scale": TEXT_LR_SCALE}]
        optimizer = torch.optim.AdamW(groups, PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        average = Average([self.unet, self.text_encoder], 0.99)
        super().__init__({"unet": self.unet, "text_encoder": self.text_encoder}, optimizer, average)
        self.unet.set_attn_processor(AttnProcessor())  # its backward is faster on a CPU than fused attention's

    def learn(self, captions: list[str], latents: torch.Tensor, things: torch.Tensor, rate: float) -> float:
        """One step on (N, 4, 32, 32) latents and (N, 32, 32) shares of things; the loss."""
        tokens, latents = tokenize(self.tokenizer, captions, length=77).to(self.device), latents.to(self.device)
        with autocast(self.device):
            with torch.set_grad_enabled(self.step % TEXT_EVERY == 0):
                words = self.text_encoder(tokens).last_hidden_state
            loss = self._loss(lambda noisy, steps: self.unet(noisy, steps, words).sample, latents, things.to(self.device))
        self.follow(loss, rate)
        return loss.item()


def save_samples(trainer: DiffusionTrainer, autoencoder: AutoencoderKL, path: Path, guidance: float = 5.0) -> None:
    """The fixed prompts, seeds 0 and up, 20 steps each."""
    trainer.unet.set_attn_processor(AttnProcessor2_0())
    pipeline = make_pipeline(trainer.unet, trainer.text_encoder, autoencoder, trainer.tokenizer)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
    with autocast(trainer.device):
        pictures = pipeline(
            list(PROMPTS), num_inference_steps=20, guidance_scale=guidance, generator=generators, output_type="np"
        ).images
    save_grid(list((pictures * 255).round().astype(np.uint8)), path, 5)
    trainer.unet.set_attn_processor(AttnProcessor())


def _train_process(rank: int, processes: int, checkpoints: Path, minutes: float, meeting: str, device: torch.device) -> None:
    join_meeting(rank, processes, meeting)
    torch.manual_seed(3)
    trainer, autoencoder = DiffusionTrainer(device), final_autoencoder(checkpoints).to(device)
    pool = LatentPool(checkpoints / f"latents-{rank}.npy", autoencoder, seed=200_000 + rank, capacity=POOL)
    path = checkpoints / f"diffusion-{rank}.pt"
    if state := trainer.resume(path):
        pool.skip(state["pool"])
    if trainer.step == 0:
        trainer.text_encoder.load_state_dict(load_text_encoder(checkpoints).state_dict())
        trainer.average = Average([trainer.unet, trainer.text_encoder], 0.99)
        pool.grow(64)
    torch.manual_seed(1000 * rank + trainer.step)
    rng = np.random.default_rng([rank, trainer.step])
    budget, is_due, losses = Budget(minutes, trainer.spent), every(420), []

    def keep() -> None:
        trainer.keep(path, budget, pool=len(pool.facts))
        if rank == 0:
            trainer.average.swap()
            save_samples(trainer, autoencoder, checkpoints / "samples" / f"diffusion-{trainer.step:06d}.png")
            trainer.average.swap()

    while True:
        if trainer.step % AVERAGE_EVERY == 0:
            average_over_processes(trainer.parameters)
            trainer.average.update()
            if time_is_up(budget):
                break
            if is_due():
                keep()
        facts, latents, things = pool.draw(BATCH, pool.grow(FRESH), rng, OFTENER)
        captions = [world.training_caption(picture, rng, fully=TOLD_FULLY) for picture in facts]
        losses.append(trainer.learn(captions, latents, things, learning_rate(PEAK, trainer.step, budget.progress)))
        if rank == 0 and trainer.step % 100 == 0:
            mean = np.mean(losses[-100:])
            log(f"diffusion step {trainer.step} {budget.spent:.1f} min loss {mean:.4f} pool {len(pool.facts)}")
    keep()
    dist.destroy_process_group()


def train_diffusion(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train for `minutes` in all with one process a core or one for a GPU; go on from the checkpoints if there are any."""
    final_autoencoder(checkpoints)
    run_together(_train_process, checkpoints, minutes, device)


def load_trainee(checkpoints: Path, averaged: bool = True) -> DiffusionTrainer:
    """The trained weights, averaged over the last steps unless said otherwise."""
    trainer = DiffusionTrainer()
    trainer.load(need_checkpoint(checkpoints / "diffusion-0.pt"))
    if averaged:
        trainer.average.swap()
    return trainer
