"""Pictures judged while they are still in memory: by their prompt, their looks, their layout. See api/runtime/judge_registry.py.

Models are imported in the worker alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from PIL import Image

from api.runtime.judge_models import MODEL_SETTINGS, missing_model
from api.runtime.judge_registry import FIGURES, Judge, Progress, Scores, Warn

if TYPE_CHECKING:
    import numpy as np

    from api.model_loader import ModelLoader
    from api.scoring.backends.layout import NetworkScorer, Verdict

AESTHETIC = {
    "image-aesthetics": ("api.scoring.backends.nima", "NimaScorer"),
    "aesthetic-head": ("api.scoring.backends.laion", "LaionScorer"),
}
"""The scorer of a model, by the model's task."""


class PromptJudge:
    """The cosine between the picture and its prompt, by a CLIP model; see `PromptScore`."""

    criterion, reads_prompts = "clip", True

    def __init__(self, loader: ModelLoader, model_id: str, warn: Warn) -> None:
        self._loader, self._model_id, self._warn = loader, model_id, warn
        self._known: dict[str, np.ndarray[Any, Any]] = {}

    def load(self, on_progress: Progress) -> None:
        self._loader.load(self._model_id, on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.loading.model_leases import LoadedModelsOnly
        from api.scoring.backends.clip import ClipEncoder, PromptScore

        lender: Any = LoadedModelsOnly(self._loader)
        encoder = ClipEncoder(lender, self._model_id)
        self._embed(encoder, prompts)
        seen = encoder.embed_images(pictures)
        cosines = [float(row @ self._known[prompt]) for row, prompt in zip(seen, prompts, strict=True)]
        return [{**PromptScore(cosine, encoder.model_id).as_dict()} for cosine in cosines]

    def _embed(self, encoder: Any, prompts: Sequence[str]) -> None:
        """Each prompt once."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not new:
            return
        for prompt, is_cut in zip(new, encoder.truncated(new), strict=True):
            if is_cut:
                self._warn(prompt, f"The prompt is longer than {encoder.model_id} reads: its score is for what fits.")
        self._known |= dict(zip(new, encoder.embed_texts(new), strict=True))


class AestheticJudge:
    """How much people are expected to like it, 0-100, by a network that was trained on ratings; not of the prompt."""

    criterion, reads_prompts = "aesthetic", False

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self._loader, self._model_id = loader, model_id

    def load(self, on_progress: Progress) -> None:
        self._scorer(self._loader).load(on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.loading.model_leases import LoadedModelsOnly
        from api.scoring.backends.layout import Layout

        scorer = self._scorer(LoadedModelsOnly(self._loader))
        verdicts = scorer.score_prepared([scorer.prepare(picture) for picture in pictures], [[Layout()]] * len(pictures))
        return [{FIGURES[self.criterion]: unrounded(verdict)} for [verdict] in verdicts]

    def _scorer(self, loader: Any) -> NetworkScorer:
        module, name = AESTHETIC[loader.catalog.get(self._model_id).task]
        return getattr(import_module(module), name)(loader, self._model_id)  # type: ignore[no-any-return]


def unrounded(verdict: Verdict) -> float:
    """The score before it was rounded for people: candidates differ by little."""
    return round(verdict.measures[0].score, 4)


class LayoutJudge:
    """The mean of the headline scores that say something, by the measures that need no model; 0-100."""

    criterion, reads_prompts = "layout", False

    def load(self, on_progress: Progress) -> None:
        return

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.scoring.backends.heuristic import HeuristicScorer
        from api.scoring.backends.layout import Layout

        scorer = HeuristicScorer()
        verdicts = [scorer.score(picture, [Layout()])[0] for picture in pictures]
        return [{FIGURES[self.criterion]: mean_of(verdict.scores)} for verdict in verdicts]


def mean_of(scores: Mapping[str, float | None]) -> float | None:
    known = [score for score in scores.values() if score is not None]
    return round(statistics.fmean(known), 4) if known else None


# ---------------------------------------------------------------- kinds


class PlainKind:
    """A JudgeKind of a criterion without a prefix."""

    def settle(self, name: str) -> str:
        return name


class LayoutKind(PlainKind):
    def missing(self) -> str:
        return ""

    def make(self, criterion: str, warn: Warn) -> Judge:
        return LayoutJudge()


class ClipKind(PlainKind):
    def missing(self) -> str:
        return missing_model(MODEL_SETTINGS["clip"], {"zero-shot-image-classification"})

    def make(self, criterion: str, warn: Warn) -> Judge:
        from api.model_loader import get_loader

        return PromptJudge(get_loader(), settings.DEFAULT_CLIP_MODEL, warn)


class AestheticKind(PlainKind):
    def missing(self) -> str:
        return missing_model(MODEL_SETTINGS["aesthetic"], AESTHETIC.keys())

    def make(self, criterion: str, warn: Warn) -> Judge:
        from api.model_loader import get_loader

        return AestheticJudge(get_loader(), settings.DEFAULT_AESTHETIC_MODEL)
