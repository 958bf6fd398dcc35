"""Pictures as latents: encoded once, while training goes on, and drawn again from the pool."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from api.starter import world
from api.starter.training import data
from api.starter.training.run import autocast, to_tensor
from api.starter.world.scene import Scene

SHAPE = (4, 32, 32)
CELL = 4
"""Pixels a side of what one place of a latent stands for."""


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pixels: list[np.ndarray]) -> torch.Tensor:
    """(N, 4, 32, 32) latents of (128, 128, 3) uint8 pictures."""
    batch = to_tensor(pixels).to(autoencoder.device, memory_format=torch.channels_last)
    with autocast(batch.device):
        return autoencoder.encode(batch).latent_dist.mean.float()


@torch.no_grad()
def standardise(autoencoder: AutoencoderKL, pixels: list[np.ndarray]) -> None:
    """Give each latent channel mean 0 and variance 1 over these pictures, by folding both into the two 1x1 convolutions."""
    latents = torch.cat([encode(autoencoder, pixels[i : i + 16]) for i in range(0, len(pixels), 16)])
    mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    quant, post = autoencoder.quant_conv, autoencoder.post_quant_conv
    quant.weight[:4] /= spread[:, None, None, None]
    quant.bias[:4] = (quant.bias[:4] - mean) / spread
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(dim=1)
    post.weight *= spread[None, :, None, None]


def shares_of_things(things: np.ndarray) -> np.ndarray:
    """(128, 128) bool to (32, 32) float16: how much of each place is covered by things and not by the ground."""
    side = SHAPE[-1]
    return things.reshape(side, CELL, side, CELL).mean(axis=(1, 3), dtype=np.float32).astype(np.float16)


def weight_of(picture: world.Picture, oftener: Mapping[str, float]) -> float:
    weight = oftener.get(picture.kind, 1.0)
    for thing in picture.objects if isinstance(picture, Scene) else ():
        weight *= oftener.get(thing, 1.0)
    return weight


class LatentPool:
    """Grows by a few fresh pictures a step up to `capacity`; lies in a file, so that a restart finds it again.

    A row is a latent's four channels and, as a fifth, the shares of things."""

    def __init__(self, path: Path, autoencoder: AutoencoderKL, seed: int, capacity: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._autoencoder, self._capacity = autoencoder, capacity
        mode = "r+" if path.exists() else "w+"
        self._rows = (
            np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=(capacity, SHAPE[0] + 1, *SHAPE[1:]))
            if mode == "w+"
            else np.lib.format.open_memmap(path, mode="r+")
        )
        self._source: Iterator[tuple[world.Picture, int]] = data.facts(seed)
        self.facts: list[world.Picture] = []

    def skip(self, count: int) -> None:
        """Take up the first `count` pictures as they lie in the file."""
        self.facts += [next(self._source)[0] for _ in range(count)]

    def grow(self, count: int) -> int:
        """Draw and encode `count` more, or what there is still room for; returns how many that were."""
        count = min(count, self._capacity - len(self.facts))
        if count <= 0:
            return 0
        fresh = [next(self._source) for _ in range(count)]
        start = len(self.facts)
        pixels, things = zip(*(world.render_with_things(picture, seed) for picture, seed in fresh), strict=True)
        rows = self._rows[start : start + count]
        rows[:, :-1] = encode(self._autoencoder, list(pixels)).cpu().numpy()
        rows[:, -1] = [shares_of_things(picture) for picture in things]
        self.facts += [picture for picture, _ in fresh]
        return count

    def draw(
        self, count: int, newest: int, rng: np.random.Generator, oftener: Mapping[str, float] | None = None
    ) -> tuple[list[world.Picture], torch.Tensor, torch.Tensor]:
        """`count` pictures, the `newest` ones and others at random: facts, latents, (N, 32, 32) shares of things.

        `oftener`: how much likelier than others a picture of this kind, or with this thing in it, is to be among the others."""
        size = len(self.facts)
        newest = min(newest, size)
        weights = np.array([weight_of(picture, oftener or {}) for picture in self.facts])
        others = rng.choice(size, size=count - newest, p=weights / weights.sum())
        chosen = np.concatenate([np.arange(size - newest, size), others])
        rows = torch.from_numpy(self._rows[chosen]).float()
        return [self.facts[i] for i in chosen], rows[:, :-1], rows[:, -1]
