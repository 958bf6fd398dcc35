"""starter-control: one ControlNet (Zhang et al., arXiv:2302.05543) for edges and scribbles, learnt beside the shipped UNet."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from api.images.backends.preprocessors.maps import Pixels, canny, scribble
from api.starter import world
from api.starter.architecture import WEIGHTS
from api.starter.training import data
from api.starter.training.clip import tokenize
from api.starter.training.diffusion import Loss
from api.starter.training.latents import encode, shares_of_things, weight_of
from api.starter.training.run import Average, Budget, Trainer, autocast, every, learning_rate, log

NAME = "starter-control"
BATCH, PEAK, NEW_LAYERS = 16, 5e-4, 3.0
FRESH, POOL = 4, 20_000
TOLD_FULLY = 0.5
"""Half of the captions leave things out, so that the map has to say them."""
THICKEST = 3
OFTENER = {"birds": 2.0, "house": 2.0, "boat": 1.5, "poster": 0.7}
"""Small things of few pixels come last."""


def make_control(unet: UNet2DConditionModel) -> ControlNetModel:
    """Beside the starter's UNet: an autoencoder of a quarter of the side asks for two steps down, not three."""
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96))


class ControlPool:
    """Pictures with their latents and both of their maps; grows by a few a step."""

    def __init__(self, autoencoder: AutoencoderKL, seed: int) -> None:
        self._autoencoder, self._source = autoencoder, data.facts(seed)
        self.facts: list[world.Picture] = []
        self._latents: list[torch.Tensor] = []
        self._maps: list[np.ndarray] = []
        self._things: list[torch.Tensor] = []
        self._weights: list[float] = []

    def grow(self, count: int) -> None:
        if len(self.facts) >= POOL:
            return
        fresh = [next(self._source) for _ in range(count)]
        drawn = [world.render_with_things(picture, seed) for picture, seed in fresh]
        self.facts += [picture for picture, _ in fresh]
        self._weights += [weight_of(picture, OFTENER) for picture, _ in fresh]
        self._latents += encode(self._autoencoder, [pixels for pixels, _ in drawn]).half()
        self._things += [torch.from_numpy(shares_of_things(things)) for _, things in drawn]
        self._maps += [np.packbits(np.stack([canny(pixels), scribble(pixels)])[..., 0] > 0) for pixels, _ in drawn]

    def draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[list[world.Picture], torch.Tensor, torch.Tensor, torch.Tensor]:
        """Facts, latents, (N, 32, 32) shares of things and (N, 3, 128, 128) maps, edges as often as scribbles."""
        weights = np.array(self._weights)
        chosen = rng.choice(len(self.facts), size=count, p=weights / weights.sum())
        maps = [varied(self._unpacked(i), rng) for i in chosen]
        latents, things = (torch.stack([rows[i] for i in chosen]).float() for rows in (self._latents, self._things))
        return [self.facts[i] for i in chosen], latents, things, as_condition(maps)

    def _unpacked(self, index: int) -> tuple[Pixels, Pixels]:
        edges, strokes = np.unpackbits(self._maps[index]).reshape(2, 128, 128) * np.uint8(255)
        return edges, strokes


def varied(maps: tuple[Pixels, Pixels], rng: np.random.Generator) -> Pixels:
    """The edges, or a scribble: strokes, or thickened edges, as a hand draws them."""
    edges, strokes = maps
    draw = rng.random()
    if draw < 0.5:
        return edges
    if draw < 0.8:
        return strokes
    return np.asarray(cv2.dilate(edges, np.ones((int(rng.integers(2, THICKEST + 1)),) * 2, np.uint8)), np.uint8)


def as_condition(maps: list[Pixels]) -> torch.Tensor:
    """(N, 3, H, W) in 0..1, from (H, W) maps."""
    return torch.from_numpy(np.stack(maps)).float()[:, None].expand(-1, 3, -1, -1) / 255


class ControlTrainer(Trainer):
    """The ControlNet; the pipeline's parts are frozen."""

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        self._pipeline, self._loss = pipeline, Loss()
        self.unet = pipeline.unet.requires_grad_(False).to(memory_format=torch.channels_last)
        self.control = make_control(self.unet).requires_grad_(True).to(memory_format=torch.channels_last)
        for network in (self.unet, self.control):
            network.set_attn_processor(AttnProcessor())  # its backward is faster on a CPU than fused attention's
        new = [p for name, p in self.control.named_parameters() if name.startswith("controlnet_")]
        copied = [p for name, p in self.control.named_parameters() if not name.startswith("controlnet_")]
        groups: list[dict[str, Any]] = [{"params": copied}, {"params": new, "lr_scale": NEW_LAYERS}]
        optimizer = torch.optim.AdamW(groups, PEAK, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        super().__init__({"control": self.control}, optimizer, Average([self.control], 0.998))

    def learn(self, captions: list[str], latents: torch.Tensor, things: torch.Tensor, maps: torch.Tensor, rate: float) -> float:
        maps = maps.contiguous(memory_format=torch.channels_last)

        def predict(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
            noisy = noisy.contiguous(memory_format=torch.channels_last)
            down, mid = self.control(noisy, steps, words, maps, return_dict=False)
            predicted: torch.Tensor = self.unet(
                noisy, steps, words, down_block_additional_residuals=down, mid_block_additional_residual=mid
            ).sample
            return predicted

        with autocast(torch.device("cpu")):
            with torch.no_grad():
                tokens = tokenize(self._pipeline.tokenizer, captions, length=77)
                words = self._pipeline.text_encoder(tokens).last_hidden_state
            loss = self._loss(predict, latents, things)
        self.follow(loss, rate)
        self.average.update()
        return loss.item()


def train_control(checkpoints: Path, minutes: float, device: torch.device) -> None:
    """Train on weights/starter for `minutes` in all, from the checkpoint if there is one, and export to starter-control/ beside it."""
    torch.manual_seed(7)
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "starter")
    trainer, path = ControlTrainer(pipeline), checkpoints / f"{NAME}.pt"
    trainer.resume(path)
    pool, rng = ControlPool(pipeline.vae, 700_000 + trainer.step), np.random.default_rng(700_000 + trainer.step)
    torch.manual_seed(700_000 + trainer.step)
    budget, keep_is_due, losses = Budget(minutes, trainer.spent), every(300), []

    def keep() -> None:
        trainer.keep(path, budget)
        trainer.average.swap()
        export_control(trainer.control, checkpoints / NAME)
        trainer.average.swap()

    pool.grow(128)
    for step in trainer.steps(budget):
        pool.grow(FRESH)
        facts, latents, things, maps = pool.draw(BATCH, rng)
        captions = [world.training_caption(picture, rng, fully=TOLD_FULLY) for picture in facts]
        losses.append(trainer.learn(captions, latents, things, maps, learning_rate(PEAK, step, budget.progress)))
        if step % 100 == 0:
            log(f"{NAME} step {step} {budget.spent:.1f} min loss {np.mean(losses[-100:]):.4f} pool {len(pool.facts)}")
        if keep_is_due():
            keep()
    keep()


def export_control(control: ControlNetModel, folder: Path) -> None:
    """fp16 on disk, contiguous, with its usual attention; the network itself stays as it is."""
    half = ControlNetModel.from_config(control.config)
    half.load_state_dict(control.state_dict())
    half.to(torch.float16).save_pretrained(folder)
