"""zero-shot-image-classification: which of some labels fits a picture, by a CLIP model."""

import math
from collections.abc import Sequence

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError

from api.dialects.huggingface.bodies import Body
from api.dialects.huggingface.errors import PARAMETERS
from api.dialects.huggingface.tasks.base import Task, need_picture
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.scoring.scorers import CLIP
from api.scoring.serializers import ClipScoreSerializer

TEMPLATE = "This is a photo of {}."
"""Of transformers' pipeline, where a client names none."""
PLACE = "{}"
USUAL_SCALE = 100.0
"""Of a CLIP's logits, for jobs of earlier versions, which did not keep the model's own."""


class ZeroShotImageClassification(Task):
    name = "zero-shot-image-classification"
    model_tasks = (CLIP,)
    default_setting = "DEFAULT_CLIP_MODEL"
    renamed = {"candidate_labels": "prompts"}
    places = {"images": "inputs"}

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        parameters = dict(body.parameters)
        template = parameters.pop("hypothesis_template", TEMPLATE)
        if not isinstance(template, str) or PLACE not in template:
            detail = "Must be a text with {} in the place of the label."
            raise ValidationError({f"{PARAMETERS}.hypothesis_template": [detail]})
        parameters["candidate_labels"] = [template.replace(PLACE, label) for label in read_labels(parameters)]
        fields = self.translate(parameters, images=[need_picture(body.inputs)], model_id=model_id)
        return self.submission(view, ClipScoreSerializer, fields)

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        """The model's own probabilities, the likeliest label first."""
        result = job.result or {}
        scale = result.get("logit_scale", USUAL_SCALE)
        scores = probabilities([scale * cosine for cosine in result["cosines"][0]])
        found = sorted(zip(read_labels(body.parameters), scores, strict=True), key=lambda one: -one[1])
        return JsonResponse([{"label": label, "score": score} for label, score in found], safe=False)


def read_labels(parameters: JsonObject) -> list[str]:
    """A list, or one text with commas, as older clients have it. Raises ValidationError."""
    value = parameters.get("candidate_labels")
    labels = value.split(",") if isinstance(value, str) else value
    if not isinstance(labels, list) or not all(isinstance(label, str) and label.strip() for label in labels):
        raise ValidationError({f"{PARAMETERS}.candidate_labels": ["Must be a list of texts."]}, code="required")
    return [label.strip() for label in labels]


def probabilities(logits: Sequence[float]) -> list[float]:
    """Softmax."""
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [round(power / sum(powers), 6) for power in powers]
