"""How good a picture looks, as ratings of 1 to 10 by a learned network (see api/loading/nima.py).  [torch; no Django]

NimaScorer(loader, "starter-nima").mean_score([picture])          # [(6.9, 1.3)]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.learned import give_verdict
from api.scoring.backends.measures import judge

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.model_loader import ModelLoader

TASK = "image-aesthetics"
MOST_PICTURES = 32
"""In one pass of the network; memory running out makes it fewer."""


def squeeze(picture: Image.Image, size: int) -> PixelArray:
    """(size, size, 3). The whole picture counts, so that it is squeezed into a square, never cut."""
    opaque = picture if picture.mode == "RGB" else picture.convert("RGB")
    return np.asarray(opaque.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))


def to_tensor(pixels: Sequence[PixelArray]) -> torch.Tensor:
    """(N, 3, size, size) of 0..1."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def spread_of(shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and standard deviation of ratings 1-10 by their shares, (N, 10) → (N,), (N,)."""
    ratings = torch.arange(1.0, shares.shape[1] + 1, device=shares.device)
    mean = shares @ ratings
    return mean, (shares @ ratings.square() - mean.square()).clamp_min(0).sqrt()


def emd(shares: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """NIMA's loss per sample, the earth mover's distance with r = 2: (mean over ratings of |ΔCDF|²)^½. (N, 10) twice → (N,)."""
    apart = (shares - targets).cumsum(dim=1)
    return (apart.square().mean(dim=1) + 1e-12).sqrt()


class NimaScorer:
    """See `api.scoring.backends.layout.NetworkScorer`. Looks at the picture alone, at all of it. Raises what `ModelLoader.use` does."""

    reads: tuple[str, ...] = ()

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self.loader, self.model_id = loader, loader.catalog.get(model_id).id

    @cached_property
    def size(self) -> int:
        """Of the square that the network looks at, in pixels."""
        with self.loader.use(self.model_id, TASK) as lease:
            return int(lease.pipeline.size)

    def load(self, on_progress: Callable[[float, str], None]) -> None:
        self.loader.load(self.model_id, on_progress)

    def prepare(self, picture: Image.Image) -> PixelArray:
        return squeeze(picture, self.size)

    def mean_score(self, images: Sequence[Image.Image]) -> list[tuple[float, float]]:
        """(mean, standard deviation) of each picture's ratings, 1-10."""
        return self.rate([self.prepare(image) for image in images])

    @torch.inference_mode()
    def rate(self, pixels: Sequence[PixelArray]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        with self.loader.use(self.model_id, TASK) as lease:
            for attempt in self.loader.retry_on_oom(lease, batch_size=MOST_PICTURES):
                with attempt:
                    while len(found) < len(pixels):
                        pictures = to_tensor(pixels[len(found) : len(found) + attempt.batch_size]).to(lease.device.torch_device)
                        found += zip(*(values.tolist() for values in spread_of(lease.pipeline(pictures))), strict=True)
        return found

    def score_prepared(self, prepared: Sequence[PixelArray], layouts: Sequence[Sequence[Layout]]) -> list[list[Verdict]]:
        rated = self.rate(prepared)
        return [[self.judge(*rating)] * len(wanted) for rating, wanted in zip(rated, layouts, strict=True)]

    def judge(self, mean: float, deviation: float) -> Verdict:
        rating = judge("nima_mean", mean, note=f"standard deviation {deviation:.2f}", deviation=deviation)
        scores = {rating.group: rating.score}
        return give_verdict([rating], scores, backend="NIMA", model=self.model_id, device=self.loader.device.type)
