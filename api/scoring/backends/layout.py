"""What is asked of a scorer, and what it answers. The same for every backend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from PIL import Image

from api.json_types import JsonObject
from api.scoring.backends.measures import Measure

if TYPE_CHECKING:
    from api.scoring.backends.balance import Mass
    from api.scoring.backends.colour import RGB
    from api.scoring.backends.harmony import Harmony
    from api.scoring.backends.page import Box, Floats, Page

HEADLINES = ("aesthetic_score", "composition_score", "color_harmony_score", "balance_score")


@dataclass(frozen=True)
class Element:
    """A box that the client names, in pixels of the picture as it was sent."""

    kind: str
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class Layout:
    """One thing to judge, beside its picture. `variant`: Tailwind classes under gradient, font, layout."""

    variant: dict[str, str] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    elements: tuple[Element, ...] = ()
    deep: bool = False


@dataclass(frozen=True)
class Seen:
    """What the overlay shows of a judged picture: the page as it was measured, and what was found in it.

    `text`: boxes with the contrast of what is written in them; `hues`: see `harmony.hue_histogram`; `palette`: with shares.
    """

    page: "Page"
    boxes: "Sequence[Box]"
    text: "Sequence[tuple[Box, float]]"
    mass: "Mass"
    hues: "Floats"
    harmony: "Harmony"
    palette: "Sequence[tuple[RGB, float]]"


@dataclass(frozen=True)
class Verdict:
    """Headline scores are 0-100, None where nothing speaks for or against. `scored`: of image and variant, what counted."""

    scores: dict[str, float | None]
    measures: tuple[Measure, ...]
    reasoning: tuple[str, ...]
    scored: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    model: str = ""
    device: str = "cpu"
    seen: Seen | None = None

    def measures_json(self) -> dict[str, JsonObject]:
        return {measure.name: measure.as_json() for measure in self.measures}


class PageScorer(Protocol):
    """A backend that measures one picture at a time. A picture that several layouts share is looked at once."""

    def score(self, picture: Image.Image | None, layouts: Sequence[Layout]) -> list[Verdict]: ...


@runtime_checkable
class NetworkScorer(Protocol):
    """A backend that is a network: the pictures of all that is asked at once go through it in one pass.

    They are prepared one by one, so that no more than one is held at its full size. What can't be had, or run, is told by the
    model loader's own errors.
    """

    reads: tuple[str, ...]
    """What counts beside the picture: of variant, event_data, elements and deep."""

    def load(self, on_progress: Callable[[float, str], None]) -> None:
        """Bring the models into memory, fetching them where they are missing."""

    def prepare(self, picture: Image.Image) -> object:
        """What the network shall see of it: small, and no longer tied to the picture."""

    def score_prepared(self, prepared: Sequence[object], layouts: Sequence[Sequence[Layout]]) -> list[list[Verdict]]:
        """For each picture a verdict on each of its layouts."""
