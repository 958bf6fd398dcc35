"""What is asked of the jobs that look at pictures. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api.specs import InputImage, InputTransparentImage, Spec, param

DEFAULT_IOU = 0.45
LONGEST_LABEL = 300
MOST_CLASSES = 200
MOST_DETECTIONS = 1000
MOST_LANGUAGES = 8
IMAGE_HELP = "base64, a data URL, a multipart file, or the id of an image here"


def model_param() -> Any:
    return param(decided=True, shared=True, max_length=200, help="One of the catalog's models for this; default: ours.")


def annotate_param() -> Any:
    return param(default=False, shared=False, help="Also the picture with what was found drawn over it.")


@dataclass(frozen=True, kw_only=True)
class DetectSpec(Spec):
    """A request to find things in a picture."""

    kind = "detect"

    image: InputImage = param(shared=False, help=IMAGE_HELP)
    model_id: str = model_param()
    threshold: float = param(default=0.25, shared=False, minimum=0, maximum=1, help="The lowest score of a detection.")
    iou: float = param(
        default=DEFAULT_IOU,
        shared=False,
        minimum=0,
        maximum=1,
        help="Of two boxes of one class that overlap more than this the lower score is dropped; for models that need it.",
    )
    classes: tuple[str, ...] | None = param(
        default=None,
        shared=False,
        min_items=1,
        max_items=MOST_CLASSES,
        max_length=LONGEST_LABEL,
        help="Only these. An open-vocabulary model looks for these words, whatever they are, and can't do without them.",
    )
    max_detections: int = param(
        default=100, shared=False, minimum=1, maximum=MOST_DETECTIONS, help="The best so many are kept."
    )
    annotate: bool = annotate_param()

    @property
    def history_model(self) -> str:
        return self.model_id

    @property
    def history_prompt(self) -> str:
        return ", ".join(self.classes or ())[:2000]


@dataclass(frozen=True, kw_only=True)
class OcrSpec(Spec):
    """A request to read the text in a picture."""

    kind = "ocr"

    image: InputTransparentImage = param(shared=False, help=IMAGE_HELP)
    model_id: str = model_param()
    languages: tuple[str, ...] = param(
        shared=False,
        default=("en",),
        min_items=1,
        max_items=MOST_LANGUAGES,
        max_length=35,
        help="Codes such as en, vi or zh-Hant: whose letters the text may have. GET /api/ocr/languages/ lists them.",
    )
    min_score: float = param(default=0.3, shared=False, minimum=0, maximum=1, help="The lowest score of a line.")
    annotate: bool = annotate_param()

    @property
    def history_model(self) -> str:
        return self.model_id
