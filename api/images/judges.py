"""What a picture is scored by while it is still in memory: its prompt, its looks, its layout. Models are imported in the worker alone.

A judge's model never costs a picture: what can't be loaded or fails is a warning on the job.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from PIL import Image

from api.errors import DarkroomError, DeviceFault
from api.files.judge_registry import UnknownJudge, is_judge, make_judge
from api.images.best_of import AESTHETIC, missing
from api.images.ranking import FIGURES

if TYPE_CHECKING:
    import numpy as np

    from api.model_loader import ModelLoader
    from api.scoring.backends.layout import NetworkScorer, Verdict

log = logging.getLogger("darkroom.worker")

Scores = dict[str, Any]
Progress = Callable[[float, str], None]
Warn = Callable[[str, str], None]
"""Called with a prompt, and what is to be said of it."""


class Unavailable(Exception):
    """A judge can't judge now, in words for a job. `passing`: its model has no place beside what is in memory."""

    def __init__(self, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail)
        self.detail, self.passing = detail, passing


class Judge(Protocol):
    criterion: str

    def load(self, on_progress: Progress) -> None:
        """Its model into memory, where it isn't there. For the thread that runs models alone. Raises Unavailable."""

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        """The i-th picture, made for the i-th prompt. Raises Unavailable, also where its model has left memory."""


class PromptJudge:
    """The cosine between the picture and its prompt, by a CLIP model; see `PromptScore`."""

    criterion = "clip"

    def __init__(self, loader: ModelLoader, model_id: str, warn: Warn) -> None:
        self._loader, self._model_id, self._warn = loader, model_id, warn
        self._known: dict[str, np.ndarray[Any, Any]] = {}

    def load(self, on_progress: Progress) -> None:
        with as_unavailable():
            self._loader.load(self._model_id, on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.loading.leases import OnlyLoaded
        from api.scoring.backends.clip import ClipEncoder, PromptScore

        with as_unavailable():
            lender: Any = OnlyLoaded(self._loader)
            encoder = ClipEncoder(lender, self._model_id)
            self._read(encoder, prompts)
            seen = encoder.embed_images(pictures)
        cosines = [float(row @ self._known[prompt]) for row, prompt in zip(seen, prompts, strict=True)]
        return [PromptScore(cosine, encoder.model_id).as_dict() for cosine in cosines]

    def _read(self, encoder: Any, prompts: Sequence[str]) -> None:
        """Each prompt once, without the marks of Compel's weights, which are no words."""
        from api.images.backends.prompts import words_of

        unread = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not unread:
            return
        texts = [words_of(prompt) for prompt in unread]
        for prompt, is_cut in zip(unread, encoder.truncated(texts), strict=True):
            if is_cut:
                self._warn(prompt, f"The prompt is longer than {encoder.model_id} reads: its score is for what fits.")
        self._known |= dict(zip(unread, encoder.embed_texts(texts), strict=True))


class AestheticJudge:
    """How much people are expected to like it, 0-100, by a network that was trained on ratings; not of the prompt."""

    criterion = "aesthetic"

    def __init__(self, loader: ModelLoader, model_id: str) -> None:
        self._loader, self._model_id = loader, model_id

    def load(self, on_progress: Progress) -> None:
        with as_unavailable():
            self._scorer(self._loader).load(on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.loading.leases import OnlyLoaded
        from api.scoring.backends.layout import Layout

        with as_unavailable():
            scorer = self._scorer(OnlyLoaded(self._loader))
            verdicts = scorer.score_prepared([scorer.prepare(picture) for picture in pictures], [[Layout()]] * len(pictures))
        return [{FIGURES[self.criterion]: exact(verdict)} for [verdict] in verdicts]

    def _scorer(self, loader: Any) -> NetworkScorer:
        module, name = AESTHETIC[loader.catalog.get(self._model_id).task]
        return getattr(import_module(module), name)(loader, self._model_id)  # type: ignore[no-any-return]


def exact(verdict: Verdict) -> float:
    """The score before it was rounded for people: candidates differ by little."""
    return round(verdict.measures[0].score, 4)


class LayoutJudge:
    """The mean of the headline scores that say something, by the measures that need no model; 0-100."""

    criterion = "layout"

    def load(self, on_progress: Progress) -> None:
        return

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.scoring.backends.heuristic import HeuristicScorer
        from api.scoring.backends.layout import Layout

        scorer = HeuristicScorer()
        verdicts = [scorer.score(picture, [Layout()])[0] for picture in pictures]
        return [{FIGURES[self.criterion]: mean_of(verdict.scores)} for verdict in verdicts]


class RegisteredJudge:
    """One that another capability brings (api/files/judges.py); 0-100."""

    def __init__(self, criterion: str, warn: Warn) -> None:
        self.criterion, self._warn = criterion, warn
        self._judge = make_judge(criterion)

    def load(self, on_progress: Progress) -> None:
        with as_unavailable():
            self._judge.load(on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        with as_unavailable():
            scores = self._judge.score(pictures)
        for prompt, warning in product(dict.fromkeys(prompts), self._judge.warnings):
            self._warn(prompt, warning)
        return [{self.criterion: round(score, 4)} for score in scores]


def mean_of(scores: Mapping[str, float | None]) -> float | None:
    known = [score for score in scores.values() if score is not None]
    return round(statistics.fmean(known), 4) if known else None


@contextmanager
def as_unavailable() -> Iterator[None]:
    """Whatever goes wrong with a judge's model; but a device that failed is a DeviceFault, which ends the process."""
    from api.model_loader import OutOfMemory

    try:
        yield
    except DeviceFault:
        raise
    except DarkroomError as error:
        raise Unavailable(error.detail, passing=isinstance(error, OutOfMemory) or error.code == "not_loaded") from error
    except UnknownJudge as error:
        raise Unavailable(str(error)) from error
    except Exception as error:
        log.exception("A picture could not be scored")
        raise Unavailable("The scorer failed; the log has more.") from error


def make_judges(criteria: Sequence[str], warn: Warn) -> list[Judge]:
    """Those of `criteria` that this worker can do."""
    makers: dict[str, Callable[[], Judge]] = {"layout": LayoutJudge}
    if settings.LOAD_MODELS:
        from api.model_loader import get_loader

        makers["clip"] = lambda: PromptJudge(get_loader(), settings.DEFAULT_CLIP_MODEL, warn)
        makers["aesthetic"] = lambda: AestheticJudge(get_loader(), settings.DEFAULT_AESTHETIC_MODEL)
    wanted = dict.fromkeys(criteria)
    brought = [RegisteredJudge(name, warn) for name in wanted if is_judge(name)]
    return [*(makers[name]() for name in wanted if name in makers), *brought]


def independent_criteria(criteria: Collection[str]) -> list[str]:
    """Who is asked beside `clip` when that alone decides: a choice that is told by the figure it was made by looks better than it is.

    None where the other model would have to be fetched first.
    """
    if list(criteria) != ["clip"] or missing("aesthetic"):
        return []
    from api.model_loader import get_loader

    loader = get_loader()
    entries = loader.catalog.with_base(loader.catalog.get(settings.DEFAULT_AESTHETIC_MODEL))
    return ["aesthetic"] if all(loader.store.available(entry) for entry in entries) else []
