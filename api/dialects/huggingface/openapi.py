"""Hugging Face's bodies for the OpenAPI document. What is sent is made in tasks/; nothing is validated by these."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from api.files.formats import FORMATS
from api.jobs.api.serializers import JobSerializer

ERROR = (
    "HuggingFaceError",
    "application/json",
    {
        "type": "object",
        "description": "`error` is for people, and names the fields as they were sent; `error_type` is for programs.",
        "required": ["error", "error_type"],
        "properties": {"error": {"type": "string"}, "error_type": {"type": "string"}},
    },
)
REFUSALS = (404, 409, 410, 422, 429, 500, 502, 503, 504, 507)


class HuggingFaceBodySerializer(serializers.Serializer[object]):
    inputs = serializers.JSONField(
        help_text="A text; a picture as base64, a data URL, or the id of one here; or an object with an `image`."
    )
    parameters = serializers.DictField(
        required=False, allow_null=True, help_text="Those of the task by Hugging Face's names, and our own fields by ours."
    )
    question = serializers.CharField(required=False, allow_null=True, help_text="Of visual-question-answering.")
    options = serializers.DictField(
        required=False, allow_null=True, help_text="What older clients send; nothing depends on it."
    )


class GeneratedTextSerializer(serializers.Serializer[object]):
    generated_text = serializers.CharField()


class AnswerSerializer(serializers.Serializer[object]):
    answer = serializers.CharField()
    score = serializers.FloatField(allow_null=True)


class LabelScoreSerializer(serializers.Serializer[object]):
    label = serializers.CharField()  # type: ignore[assignment]
    score = serializers.FloatField()


class WholeBoxSerializer(serializers.Serializer[object]):
    xmin = serializers.IntegerField()
    ymin = serializers.IntegerField()
    xmax = serializers.IntegerField()
    ymax = serializers.IntegerField()


class BoxedLabelSerializer(LabelScoreSerializer):
    box = WholeBoxSerializer()


REQUEST = {"application/json": HuggingFaceBodySerializer, "application/octet-stream": OpenApiTypes.BINARY}
PICTURES = {(200, row.content_type): OpenApiTypes.BINARY for row in FORMATS.values()}


def answers(responses: Any) -> Any:
    return extend_schema(request=REQUEST, responses={**responses, 202: JobSerializer})


answers_picture = answers(PICTURES)
answers_texts = answers({200: GeneratedTextSerializer(many=True)})
answers_answers = answers({200: AnswerSerializer(many=True)})
answers_boxes = answers({200: BoxedLabelSerializer(many=True)})
answers_labels = answers({200: LabelScoreSerializer(many=True)})
answers_any = answers({**PICTURES, (200, "application/json"): OpenApiTypes.ANY})
