"""What is asked of the jobs that look for hazards. See api/specs.py."""

from __future__ import annotations

from dataclasses import dataclass

from api.specs import InputImage, Spec, param
from api.vision.spec import IMAGE_HELP, annotate_param, model_param


@dataclass(frozen=True, kw_only=True)
class HazardSpec(Spec):
    """A request to find the hazards on the way that a picture shows."""

    kind = "hazards"

    image: InputImage = param(shared=False, help=IMAGE_HELP)
    model_id: str = model_param()
    threshold: float = param(
        default=0.5,
        shared=False,
        minimum=0,
        maximum=1,
        help="A hazard is in a cell above this score; where no output is, the largest counts.",
    )
    annotate: bool = annotate_param()

    @property
    def history_model(self) -> str:
        return self.model_id
