"""object-detection: what is in a picture, with boxes in whole pixels."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse

from api.dialects.huggingface.bodies import Body
from api.dialects.huggingface.tasks.base import Task, need_picture
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.vision.detection import DETECTION, OPEN_VOCABULARY
from api.vision.serializers import DetectSerializer


class ObjectDetection(Task):
    """With `candidate_labels` only those, which is how a model without a vocabulary of its own is asked."""

    name = "object-detection"
    model_tasks = (DETECTION, OPEN_VOCABULARY)
    default_setting = "DEFAULT_DETECTION_MODEL"
    renamed = {"candidate_labels": "classes"}
    places = {"image": "inputs"}

    def parse(self, view: Dialect, body: Body, model_id: str | None) -> Submission:
        fields = self.translate(body.parameters, image=need_picture(body.inputs), model_id=model_id)
        return self.submission(view, DetectSerializer, fields)

    def render(self, view: Dialect, job: Job, body: Body) -> HttpResponse:
        found = view.result(job)["detections"]
        return JsonResponse([describe(one) for one in found], safe=False)


def describe(found: Mapping[str, Any]) -> JsonObject:
    box = {name: round(value) for name, value in found["box"].items()}
    return {"label": found["label"], "score": found["score"], "box": box}
