"""What is asked of the jobs that cut subjects out. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass

from api.files.formats import FORMAT_NAMES
from api.specs import InputImage, Spec, param
from api.vision.spec import IMAGE_HELP, LONGEST_LABEL, MOST_CLASSES, model_param

CUTOUT, MASK = "cutout", "mask"
SEGMENTATION, PROMPTED = "image-segmentation", "mask-generation"
"""The catalog's tasks: models that know what a subject is, or classes; and models that are told where it is."""
MOST_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class SubjectPoint:
    """A place in the picture, in pixels as a person sees it."""

    x: float = param(minimum=0, maximum=1_000_000)
    y: float = param(minimum=0, maximum=1_000_000)
    inside: bool = param(default=True, help="Whether it belongs to the subject.")


@dataclass(frozen=True, kw_only=True)
class SubjectBox:
    """A box around the subject, as POST /api/detect/ gives them."""

    xmin: float = param(minimum=0, maximum=1_000_000)
    ymin: float = param(minimum=0, maximum=1_000_000)
    xmax: float = param(minimum=0, maximum=1_000_000)
    ymax: float = param(minimum=0, maximum=1_000_000)


@dataclass(frozen=True, kw_only=True)
class CutoutSpec(Spec):
    """A request to cut the subject out of a picture."""

    kind = "cutout"

    image: InputImage = param(shared=False, help=IMAGE_HELP)
    model_id: str = model_param()
    output: str = param(
        default=CUTOUT,
        shared=False,
        choices=(CUTOUT, MASK),
        help="cutout: the subject on a transparent ground. mask: white where it is, as `mask` of an image request.",
    )
    classes: tuple[str, ...] | None = param(
        default=None,
        shared=False,
        min_items=1,
        max_items=MOST_CLASSES,
        max_length=LONGEST_LABEL,
        help="What is the subject, for a model that has classes; it can't do without them.",
    )
    box: SubjectBox | None = param(default=None, shared=False, help="For a model that is told where the subject is.")
    points: tuple[SubjectPoint, ...] | None = param(
        default=None, shared=False, min_items=1, max_items=MOST_POINTS, help="For the same models, beside a box or without."
    )
    refine: bool = param(default=True, shared=False, help="The mask's edges follow those of the picture.")
    output_format: str = param(default="png", shared=False, choices=FORMAT_NAMES, help="A cutout needs one with transparency.")

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return ", ".join(self.classes or ())[:2000]
