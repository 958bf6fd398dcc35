"""OpenAI's embeddings, of texts and of pictures, by the CLIP models."""

import re
from array import array
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from api.chat.backend_selection import PLACEHOLDER_MODEL
from api.chat.neutral_fields import drop_neutral_fields
from api.dialects.openai.base import OpenAIDialect
from api.dialects.openai.errors import in_their_words
from api.jobs.api.serializers import JobSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.scoring.embedding_serializers import EmbeddingSerializer
from api.scoring.embeddings import vectors_of
from api.strict import JsonParser
from config.catalog import get_catalog

BUILT_IN = re.compile(r"text-embedding-[a-z0-9.-]+")
"""Models that clients name without being asked: the default model, unless the catalog has one of that name."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "truncate_prompt_tokens": (),
    "add_special_tokens": (True,),
    "normalize": (True,),
    "priority": (0,),
}
"""Of vLLM's and others', with the values that ask for nothing."""
DIGITS = 9
"""Decimals of a number, of which none is above 1: a float32 has no more."""


class VectorSerializer(serializers.Serializer[object]):
    object = serializers.ChoiceField(choices=["embedding"])
    index = serializers.IntegerField()
    embedding = serializers.ListField(
        child=serializers.FloatField(), help_text="As `encoding_format: base64`: a text, float32, little-endian."
    )


class EmbeddingUsageSerializer(serializers.Serializer[object]):
    prompt_tokens = serializers.IntegerField(help_text="Tokens of texts and patches of pictures that the model has read.")
    total_tokens = serializers.IntegerField()


class EmbeddingListSerializer(serializers.Serializer[object]):
    object = serializers.ChoiceField(choices=["list"])
    data = VectorSerializer(many=True)  # type: ignore[assignment]
    model = serializers.CharField()
    usage = EmbeddingUsageSerializer()
    job = serializers.UUIDField(help_text="Its record here: GET /api/jobs/{id}/.")
    warnings = serializers.ListField(child=serializers.CharField())


@extend_schema_view(
    post=extend_schema(
        description="OpenAI's embeddings. Texts and pictures become vectors of length 1 in one space: the dot product of a text's and a "
        "picture's is what POST /api/clip-score/ calls `clip_cosine`. What a text has beyond the model's context is not seen; `warnings` "
        "says where that is so.",
        request=EmbeddingSerializer,
        responses={200: EmbeddingListSerializer, 202: JobSerializer},
    )
)
class EmbeddingsView(OpenAIDialect):
    """Vectors of texts and pictures."""

    parser_classes = [JsonParser]
    thing = "embedding"

    def parse(self, request: Request) -> Submission:
        body = drop_neutral_fields(with_own_model(request.data), EmbeddingSerializer().fields, NEUTRAL)
        try:
            serializer = self.validated(EmbeddingSerializer, body)
        except ValidationError as error:
            raise in_their_words(error, {}) from None
        self.in_base64 = serializer.validated_data.get("encoding_format") == "base64"
        return serializer.resolve()  # type: ignore[no-any-return]

    def render(self, job: Job) -> HttpResponse:
        result = job.result or {}
        vectors = [self.written(row) for row in vectors_of(job)]
        return JsonResponse(
            {
                "object": "list",
                "data": [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)],
                "model": result["model"],
                "usage": result["usage"],
                "job": str(job.pk),
                "warnings": job.warnings,
            }
        )

    def written(self, row: bytes) -> str | list[float]:
        return b64encode(row).decode() if self.in_base64 else [round(number, DIGITS) for number in array("f", row)]


def with_own_model(data: Any) -> Any:
    model = data.get("model") if isinstance(data, Mapping) else None
    if isinstance(model, str) and means_default(model):
        own: JsonObject = {**data, "model": None}
        return own
    return data


def means_default(model: str) -> bool:
    is_built_in = model in ("", PLACEHOLDER_MODEL) or BUILT_IN.fullmatch(model) is not None
    return is_built_in and get_catalog().find_model(model) is None
