"""One control map of a request for pictures."""

from __future__ import annotations

from dataclasses import dataclass

from api.catalog import LONGEST_NAME
from api.catalog.control_kinds import CONTROL_KINDS
from api.images.control.step_range import acts_at
from api.specs import InputImage, param

PREPROCESSORS = ("canny", "softedge", "scribble", "lineart", "lines", "tile", "grey", "colour", "invert")
"""Maps that are made here, without weights (backends/preprocessors/maps.py)."""
KIND_OF_INVERTED = "scribble"
MOST_CONTROLS, LARGEST_CONTROL_WEIGHT = 4, 2


@dataclass(frozen=True, kw_only=True)
class ControlUse:
    """One control map: a picture that is one, or that one is made of, and the ControlNet that reads it."""

    image: InputImage = param(help="base64, a data URL, a multipart file (`control_image_0` …), or the id of an image here")
    kind: str | None = param(
        default=None,
        choices=CONTROL_KINDS,
        help="What the picture is a map of. It chooses the ControlNet where no model_id does, and tells a Union what it reads.",
    )
    preprocessor: str | None = param(
        default=None,
        choices=PREPROCESSORS,
        help="For a picture that is no map yet: makes one of it, as POST /api/preprocess/ does.",
    )
    model_id: str = param(
        decided=True, max_length=LONGEST_NAME, help="The ControlNet; default: the first that there is for this kind and model."
    )
    weight: float = param(default=1.0, minimum=0, maximum=LARGEST_CONTROL_WEIGHT)
    start: float = param(default=0.0, minimum=0, maximum=1, help="From which share of the steps on it acts.")
    end: float = param(default=1.0, minimum=0, maximum=1, help="Up to which share of the steps it acts.")

    def acts_at(self, position: int, passes: int) -> bool:
        """See step_range.py."""
        return acts_at(position, passes, start=self.start, end=self.end)


def kind_of(kind: str | None, preprocessor: str | None) -> str | None:
    """What the map is of: "" chooses nothing."""
    return kind or (KIND_OF_INVERTED if preprocessor == "invert" else preprocessor)
