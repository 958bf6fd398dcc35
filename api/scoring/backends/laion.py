"""The backend `laion`: how much people like a picture, by a head on CLIP's embedding (LAION-Aesthetics v1 and v2).

The head was fitted to ratings from 1 to 10 of photographs and of generated pictures; of layouts as such it knows nothing. Its
score becomes 0-100 by a straight line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from api.errors import DarkroomError
from api.scoring.backends.clip import ClipEncoder, Floats, normalized
from api.scoring.backends.layout import Layout, Verdict
from api.scoring.backends.learned import give_verdict, judged

if TYPE_CHECKING:
    from api.loading.clip_preprocessing import PixelArray
    from api.model_loader import ModelLoader

TASK = "aesthetic-head"
OVERALL = "aesthetic_score"
LOWEST, HIGHEST = 1.0, 10.0


class LaionScorer:
    """See `api.scoring.backends.layout.NetworkScorer`. Looks at the picture alone, at the middle square of it."""

    reads: tuple[str, ...] = ()

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        entry = loader.catalog.get(model_id)
        if not entry.base:
            raise DarkroomError("no_base", 500, f"{entry.name} stands on no CLIP: its table in the catalog needs a base.")
        self.loader, self.model_id = loader, entry.id
        self.encoder = ClipEncoder(loader, entry.base)

    def load(self, on_progress: Callable[[float, str], None]) -> None:
        self.loader.load(self.model_id, on_progress)
        self.encoder.load(on_progress)

    def prepare(self, picture: Image.Image) -> PixelArray:
        return self.encoder.preprocess(picture)

    def ratings(self, images: Sequence[Image.Image]) -> list[float]:
        """Of each picture, on the head's own scale of about 1 to 10."""
        return self.rate(self.encoder.raw_image_features(images))

    def rate(self, features: Floats) -> list[float]:
        """`features`: (N, D), normalised here."""
        with self.loader.use(self.model_id, TASK) as lease, torch.inference_mode():
            head = lease.pipeline
            if head.width != features.shape[1]:
                detail = (
                    f"{self.model_id} takes embeddings of {head.width}, and {self.encoder.model_id} gives {features.shape[1]}."
                )
                raise DarkroomError("wrong_base", 500, detail)
            found = head(torch.from_numpy(normalized(features)).to(lease.device.torch_device))
            return [float(value) for value in found.cpu()]

    def score_prepared(self, prepared: Sequence[PixelArray], layouts: Sequence[Sequence[Layout]]) -> list[list[Verdict]]:
        rated = self.rate(self.encoder.features_of(prepared))
        return [[self.judge(rating)] * len(wanted) for rating, wanted in zip(rated, layouts, strict=True)]

    def judge(self, rating: float) -> Verdict:
        score = 100 * (min(max(rating, LOWEST), HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
        said = f"LAION's predictor rates it {rating:.2f} on a scale from 1 to 10"
        measure = judged("laion_rating", OVERALL, rating, score, low=said, high=said)
        return give_verdict(
            [measure], {OVERALL: score}, backend="LAION's predictor", model=self.model_id, device=self.encoder.device
        )
