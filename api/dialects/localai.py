"""LocalAI's `POST /v1/detection`, over the same jobs as /api/detect/. Its errors are in OpenAI's form, as all under /v1/ are."""

import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.chat.neutral_fields import drop_neutral_fields
from api.dialects.openai.base import OpenAIDialect
from api.dialects.openai.errors import in_their_words
from api.files.fields import ImageInputField
from api.jobs.api.serializers import JobSerializer
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.jobs.models import Job
from api.json_types import JsonObject
from api.strict import FiniteFloatField, JsonParser
from api.vision.serializers import DetectSerializer
from config.catalog import get_catalog

NAMES = {"model_id": "model", "classes": "prompt"}
"""Our fields, and theirs."""
BUILT_IN = re.compile(r"rfdetr(-[a-z0-9.-]+)?")
"""Models that its clients name by its documentation: the default model, unless the catalog has one of that name."""
USUAL_THRESHOLD = 0.5
NEUTRAL: dict[str, tuple[Any, ...]] = {"points": (), "boxes": ()}
"""For models that are told where a thing is; POST /api/cutout/ has those."""


class DetectionRequestSerializer(JobRequest):
    """LocalAI's request, and our `webhook`."""

    model = serializers.CharField(required=False, allow_blank=True, help_text="A detector of GET /api/models/.")
    image = ImageInputField()
    prompt = serializers.CharField(
        required=False, allow_blank=True, help_text="What to look for; several things with commas between them."
    )
    threshold = FiniteFloatField(
        required=False, min_value=0, max_value=1, help_text=f"The lowest confidence; 0 or none is {USUAL_THRESHOLD}."
    )


class FoundObjectSerializer(serializers.Serializer[object]):
    x = serializers.FloatField(help_text="Of the box's left side, in pixels.")
    y = serializers.FloatField(help_text="Of its upper side.")
    width = serializers.FloatField()
    height = serializers.FloatField()
    confidence = serializers.FloatField()
    class_name = serializers.CharField()


class FoundObjectsSerializer(serializers.Serializer[object]):
    detections = FoundObjectSerializer(many=True)


@extend_schema_view(
    post=extend_schema(
        description="LocalAI's detection. The request waits until the picture was looked at.",
        request=DetectionRequestSerializer,
        responses={200: FoundObjectsSerializer, 202: JobSerializer},
    )
)
class DetectionView(OpenAIDialect):
    """What is in a picture, and where."""

    parser_classes = [JsonParser]
    source = "localai"
    thing = "detection"

    def parse(self, request: Request) -> Submission:
        known = DetectionRequestSerializer().fields
        asked = self.validated(DetectionRequestSerializer, drop_neutral_fields(request.data, known, NEUTRAL)).validated_data
        try:
            return self.validated(DetectSerializer, translate(asked)).resolve()  # type: ignore[no-any-return]
        except ValidationError as error:
            raise in_their_words(error, NAMES) from None

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse({"detections": [found_object(found) for found in self.result(job)["detections"]]})


def translate(asked: Mapping[str, Any]) -> JsonObject:
    data: JsonObject = {"image": str(asked["image"].pk), "threshold": asked.get("threshold") or USUAL_THRESHOLD}
    model = asked.get("model")
    if model and (not BUILT_IN.fullmatch(model) or get_catalog().find_model(model)):
        data["model_id"] = model
    if classes := [word.strip() for word in asked.get("prompt", "").split(",") if word.strip()]:
        data["classes"] = classes
    return data


def found_object(found: Mapping[str, Any]) -> JsonObject:
    box = found["box"]
    return {
        "x": box["xmin"],
        "y": box["ymin"],
        "width": box["xmax"] - box["xmin"],
        "height": box["ymax"] - box["ymin"],
        "confidence": found["score"],
        "class_name": found["label"],
    }
