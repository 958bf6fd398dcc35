"""What is asked of the jobs that judge layouts, hold pictures against prompts, and train scorers. See api/specs.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from api.json_types import Json
from api.scoring.scorers import DEFAULT, SCORERS
from api.specs import InputImage, Spec, param

LONGEST_CLASSES, LONGEST_TEXT = 1000, 10_000
FARTHEST = 100_000
MOST_COMPARED = 64
MOST_EMBEDDED, LONGEST_EMBEDDED = 2048, 100_000
FULL_BATCH = 256
"""Inputs of one request that fill a batch by themselves."""
LONGEST_SCORER_NAME = 40
LONGEST_BACKEND = 60
On = Literal["images", "layouts"]
"""Whose judgements a scorer learns from."""
ONS: tuple[On, ...] = get_args(On)
ON_LABELS = tuple(name.capitalize() for name in ONS)
ON_CHOICES = tuple(zip(ONS, ON_LABELS, strict=True))


def classes() -> Any:
    return param(default=None, omitted=True, max_length=LONGEST_CLASSES, blank=True, help="Tailwind classes")


def text() -> Any:
    return param(default=None, omitted=True, max_length=LONGEST_TEXT, blank=True)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Tailwind classes of a layout."""

    gradient: str | None = classes()
    font: str | None = classes()
    layout: str | None = classes()

    def given(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class EventData:
    """The texts of a layout."""

    title: str | None = text()
    description: str | None = text()


@dataclass(frozen=True, kw_only=True)
class ElementBox:
    """A box in pixels of the picture; what reaches past its edge is cut off."""

    kind: str = param(max_length=40, default="other", help="text, title, button, image, …")
    x: float = param(minimum=-FARTHEST, maximum=FARTHEST)
    y: float = param(minimum=-FARTHEST, maximum=FARTHEST)
    w: float = param(minimum=0, maximum=FARTHEST)
    h: float = param(minimum=0, maximum=FARTHEST)


@dataclass(frozen=True, kw_only=True)
class ScoreItem:
    """One layout. In a form, `variant`, `event_data` and `elements` are JSON text."""

    image: InputImage | None = param(default=None, shared=False)
    variant: Variant = param(default=Variant(), shared=False)
    event_data: EventData = param(default=EventData(), shared=False)
    elements: tuple[ElementBox, ...] = param(default=(), shared=False, max_items=200)
    deep: bool = param(default=False, shared=False, help="Also the slow measure of clutter, subband entropy.")


@dataclass(frozen=True, kw_only=True)
class LayoutSpec(Spec):
    """Which scorer shall judge, and with which of its models."""

    kind = "layout_score"

    backend: str = param(default=DEFAULT, shared=True, max_length=LONGEST_BACKEND, help=f"One of {', '.join(SCORERS)}.")
    model_id: str | None = param(
        decided=True, shared=True, max_length=200, help="One of the backend's models in the catalog; by default its first."
    )

    @classmethod
    def from_row(cls, params: Mapping[str, Json], *, kind: str, model_id: str, prompt: str) -> Self:
        return cls.from_json(params)  # the column has the backend's name where that uses no model

    @property
    def layouts(self) -> tuple[ScoreItem, ...]:
        """What is to be judged."""
        raise NotImplementedError

    @property
    def history_model(self) -> str:
        return self.model_id or self.backend

    @property
    def history_prompt(self) -> str:
        return next((item.event_data.title for item in self.layouts if item.event_data.title), "")[:2000]


@dataclass(frozen=True, kw_only=True)
class ScoreSpec(LayoutSpec, ScoreItem):
    """A request to judge one layout."""

    @property
    def layouts(self) -> tuple[ScoreItem, ...]:
        return (self,)


@dataclass(frozen=True, kw_only=True)
class ScoreBatchSpec(LayoutSpec):
    """A request to judge several layouts. It fills a batch by itself."""

    items: tuple[ScoreItem, ...] = param(shared=False, min_items=1, max_items=64)

    @property
    def layouts(self) -> tuple[ScoreItem, ...]:
        return self.items

    @property
    def runs_alone(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class ClipScoreSpec(Spec):
    """Pictures against prompts. In a form, `images` and `prompts` are repeated, or JSON lists."""

    kind = "clip_score"

    images: tuple[InputImage, ...] = param(shared=False, min_items=1, max_items=MOST_COMPARED)
    prompts: tuple[str, ...] = param(shared=False, min_items=1, max_items=MOST_COMPARED, max_length=2000)
    model_id: str = param(decided=True, shared=True, max_length=200, help="A CLIP of the catalog; else DEFAULT_CLIP_MODEL.")
    pairs: bool = param(
        default=False,
        shared=False,
        help="Also the i-th image with the i-th prompt, in `pairs`; only those are kept in the history.",
    )

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return self.prompts[0]

    @property
    def runs_alone(self) -> bool:
        """A request of several pictures fills a batch by itself."""
        return len(self.images) > 1

    @property
    def kept_places(self) -> list[tuple[int, int]]:
        """(image, prompt) of the scores that become rows: all, or the pairs where pairs were asked for."""
        images, prompts = range(len(self.images)), range(len(self.prompts))
        return [(place, place) for place in images] if self.pairs else [(i, j) for i in images for j in prompts]


@dataclass(frozen=True, kw_only=True)
class EmbeddingItem:
    """A text or a picture."""

    text: str | None = param(default=None, omitted=True, max_length=LONGEST_EMBEDDED)
    image: InputImage | None = param(default=None, omitted=True)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec(Spec):
    """Texts and pictures whose vectors are asked for. `model` and `dimensions` are OpenAI's names."""

    kind = "embedding"

    input: tuple[EmbeddingItem, ...] = param(shared=False, min_items=1, max_items=MOST_EMBEDDED)
    model: str = param(decided=True, shared=True, max_length=200, help="A CLIP of the catalog; else DEFAULT_CLIP_MODEL.")
    dimensions: int | None = param(
        default=None, shared=False, minimum=1, maximum=100_000, help="Vectors are cut to so many numbers, and normalised again."
    )
    user: str = param(default="", shared=False, max_length=256, blank=True)

    @property
    def history_model(self) -> str:
        return self.model

    @property
    def history_prompt(self) -> str:
        return next((item.text[:2000] for item in self.input if item.text), "")

    @property
    def runs_alone(self) -> bool:
        return len(self.input) > FULL_BATCH


@dataclass(frozen=True, kw_only=True)
class TrainScorerSpec(Spec):
    """A request to learn from what people said of pictures or layouts."""

    kind = "train_scorer"

    name: str = param(
        slug=True, max_length=LONGEST_SCORER_NAME, help="Letters, digits, - and _. A name that is there gets a new version."
    )
    on: str = param(default="images", choices=ONS, labels=ON_LABELS, help="Whose judgements: of images, of layouts.")
    raters: tuple[str, ...] | None = param(
        default=None,
        min_items=1,
        max_items=50,
        max_length=64,
        help="Their judgements alone, as /api/ratings/ names them; default: everybody's.",
    )
    encoder: str = param(
        decided=True, max_length=200, help="Whose embeddings are learned from: a CLIP of the catalog; else DEFAULT_CLIP_MODEL."
    )

    @property
    def history_model(self) -> str:
        return self.encoder

    @property
    def history_prompt(self) -> str:
        return self.name
