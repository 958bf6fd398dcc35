"""Pictures judged by what a detector finds of what their prompt asks for; for best-of-N. See api/runtime/judge_registry.py.

`objects_score` is the mean of one figure, 0 to 1, for each thing and each place that is asked for. With the scores c1 ≥ c2 ≥ … of
the thing's detections, and m of them at least FOUND:

    n things at least       (c1 + … + cn) / n
    exactly n things        the same, times n / m where m is more than n
    none                    1 − c1
    one left of another     the largest min(ci, cj) of two detections whose middles lie so

so that of two pictures that show all that is asked for the one stands first in which it is clearer. What nobody asked for costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from PIL import Image

from api.runtime.judge_models import MODEL_SETTINGS, missing_model
from api.runtime.judge_registry import FIGURES, Judge, Progress, Scores, Warn
from api.vision.asked_objects import AskedObjects, AskedPlace, AskedThing, asked_objects
from api.vision.detection import DETECTION, DetectionRequest, Found
from api.vision.spatial_relations import stands

if TYPE_CHECKING:
    from api.model_loader import ModelLoader

FOUND, LEAST_SCORE = 0.25, 0.05
"""A thing is there from the first on; what is weaker still tells which of two pictures comes closer."""
MISSING = "objects_missing"
NOTHING_ASKED = "The prompt names nothing that {model} knows: the pictures have no objects score."


def score_objects(asked: AskedObjects, found: Sequence[Found]) -> Scores:
    """The score, and in words what is missing or too many."""
    figures = [score_thing(thing, found) for thing in asked.things] + [score_place(place, found) for place in asked.places]
    return {FIGURES["objects"]: round(sum(figures) / len(figures), 6), MISSING: list(missing_from(asked, found))}


def score_thing(thing: AskedThing, found: Sequence[Found]) -> float:
    scores = scores_of(thing.label, found)
    if not thing.count:
        return 1 - max(scores, default=0.0)
    there = sum(score >= FOUND for score in scores)
    mean = sum(scores[: thing.count]) / thing.count
    return mean * thing.count / there if thing.is_exact and there > thing.count else mean


def scores_of(label: str, found: Iterable[Found]) -> list[float]:
    return sorted((one.score for one in found if one.label == label), reverse=True)


def score_place(place: AskedPlace, found: Sequence[Found]) -> float:
    firsts, seconds = ([one for one in found if one.label == label] for label in (place.first, place.second))
    pairs = [(one, other) for one in firsts for other in seconds if one is not other and stands(one, place.direction, other)]
    return max((min(one.score, other.score) for one, other in pairs), default=0.0)


def missing_from(asked: AskedObjects, found: Sequence[Found]) -> Iterable[str]:
    sure = [one for one in found if one.score >= FOUND]
    for thing in asked.things:
        there = len(scores_of(thing.label, sure))
        if there < thing.count or (thing.is_exact and there > thing.count):
            yield f"{thing.label}: {there} of {thing.count}"
    for place in asked.places:
        if not score_place(place, sure):
            yield f"{place.first} {place.direction} of {place.second}"


class ObjectJudge:
    """By the detector of a setting."""

    criterion, reads_prompts = "objects", True

    def __init__(self, loader: ModelLoader, model_id: str, warn: Warn) -> None:
        self._loader, self._model_id, self._warn = loader, model_id, warn
        self._warned: set[str] = set()

    def load(self, on_progress: Progress) -> None:
        self._loader.load(self._model_id, on_progress)

    def score(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> list[Scores]:
        from api.loading.model_leases import LoadedModelsOnly

        lender: Any = LoadedModelsOnly(self._loader)
        with lender.use(self._model_id, DETECTION) as lease:
            labels = tuple(lease.pipeline.labels)
        asked = [asked_objects(prompt, labels) for prompt in prompts]
        scores: list[Scores] = [{FIGURES[self.criterion]: None} for _ in pictures]
        self._warn_of_nothing(prompts, asked)
        places = [place for place, one in enumerate(asked) if one.things]
        for place, found in zip(places, self._find(lender, [pictures[place] for place in places]), strict=True):
            scores[place] = score_objects(asked[place], found)
        return scores

    def _find(self, lender: Any, pictures: Sequence[Image.Image]) -> list[list[Found]]:
        """Raises DarkroomError."""
        from api.errors import DarkroomError
        from api.vision.backends.run_detector import run_detector

        if not pictures:
            return []
        requests = [DetectionRequest(picture.convert("RGB"), threshold=LEAST_SCORE) for picture in pictures]
        found = []
        for result in run_detector(lender, self._model_id, requests).results:
            if isinstance(result, DarkroomError):
                raise result
            found.append(result)
        return found

    def _warn_of_nothing(self, prompts: Sequence[str], asked: Sequence[AskedObjects]) -> None:
        """Once for each prompt."""
        for prompt, one in zip(prompts, asked, strict=True):
            if not one.things and prompt not in self._warned:
                self._warned.add(prompt)
                self._warn(prompt, NOTHING_ASKED.format(model=self._model_id))


class ObjectKind:
    def settle(self, name: str) -> str:
        return name

    def missing(self) -> str:
        return missing_model(MODEL_SETTINGS["objects"], {DETECTION})

    def make(self, criterion: str, warn: Warn) -> Judge:
        from api.model_loader import get_loader

        return ObjectJudge(get_loader(), settings.DEFAULT_DETECTION_MODEL, warn)
