"""OpenAI's older completions: a prompt without messages is written on. A client that leaves takes its job with it."""

from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request

from api.chat.completions.serializers import CompletionSerializer
from api.dialects.openai import openapi
from api.dialects.openai.base import OpenAIDialect
from api.dialects.openai.errors import render_error
from api.dialects.openai.streaming import ChunkStream, Lines
from api.jobs.api.serializers import JobSerializer
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.problems import Problem
from api.strict import JsonParser


class CompletionLogprobsSerializer(serializers.Serializer[object]):
    tokens = serializers.ListField(child=serializers.CharField())
    token_logprobs = serializers.ListField(child=serializers.FloatField(allow_null=True))
    top_logprobs = serializers.ListField(
        child=serializers.DictField(child=serializers.FloatField(), allow_null=True), allow_null=True
    )
    text_offset = serializers.ListField(child=serializers.IntegerField())


class CompletionChoiceSerializer(serializers.Serializer[object]):
    index = serializers.IntegerField(help_text="Those of the first prompt come first.")
    text = serializers.CharField()
    logprobs = CompletionLogprobsSerializer(allow_null=True)
    finish_reason = serializers.CharField(help_text="stop, length, or what a remote server says")


class CompletionAnswerSerializer(serializers.Serializer[object]):
    id = serializers.CharField()
    object = serializers.ChoiceField(choices=["text_completion"])
    created = serializers.IntegerField(help_text="Unix seconds")
    model = serializers.CharField()
    system_fingerprint = serializers.CharField(allow_null=True)
    backend = serializers.CharField(help_text="pytorch, onnx or remote: what ran")
    job = serializers.UUIDField(help_text="Its record here: GET /api/jobs/{id}/.")
    choices = CompletionChoiceSerializer(many=True)  # type: ignore[assignment]
    usage = openapi.ChatUsageSerializer()
    warnings = serializers.ListField(child=serializers.CharField())


@extend_schema_view(
    post=extend_schema(
        description="OpenAI's older completions: texts are written on as they are, without a chat template, by any model that chats. "
        "What a prompt has of the spelling of a special token stays text; token ids are taken as they are. The request waits for its "
        "answer, and a client that leaves cancels it, as with chats.",
        request=CompletionSerializer,
        responses={
            (200, "application/json"): CompletionAnswerSerializer,
            (200, "text/event-stream"): openapi.STREAM,
            202: JobSerializer,
        },
    )
)
class CompletionsView(OpenAIDialect):
    """Write on what was begun."""

    parser_classes = [JsonParser]
    thing = "completion"
    cancels_when_client_leaves = True

    def parse(self, request: Request) -> Submission:
        serializer = self.validated(CompletionSerializer, request.data)
        asked = serializer.validated_data
        self.wants_stream = asked.get("stream", False)
        self.include_usage = asked.get("stream_options", {}).get("include_usage", False)
        return serializer.resolve()  # type: ignore[no-any-return]

    def render(self, job: Job) -> HttpResponse:
        result = job.result or {}
        choices = [
            choice_of(index, one["text"], one["logprobs"], one["finish_reason"]) for index, one in enumerate(result["choices"])
        ]
        answer = {**head(job), "model": result["model"], "choices": choices, "usage": result["usage"], "warnings": job.warnings}
        return JsonResponse(answer)

    def render_error(self, problem: Problem) -> dict[str, Any]:
        """What chats say of their messages is true of a prompt."""
        answer: dict[str, Any] = dict(render_error(problem))
        if answer["error"]["param"] == "messages" and not problem["errors"]:
            answer["error"]["param"] = "prompt"
        return answer

    def stream(self, job: Job) -> "CompletionStream | None":
        return CompletionStream(job, None, include_usage=self.include_usage) if self.wants_stream else None


class CompletionStream(ChunkStream):
    def __init__(self, job: Job, conversation: None, *, include_usage: bool) -> None:
        super().__init__(job, conversation, include_usage=include_usage)
        self.head = head(job)

    def open_choice(self, index: int, *, calls: bool) -> Lines:
        """A completion has no role to tell."""
        yield from ()

    def delta(  # type: ignore[override]
        self, index: int, content: dict[str, Any], *, logprobs: Any = None, finish_reason: str | None = None
    ) -> JsonObject:
        return choice_of(index, content.get("content", ""), logprobs, finish_reason)


def head(job: Job) -> JsonObject:
    return {
        "id": f"cmpl-{job.pk.hex}",
        "object": "text_completion",
        "created": int(job.created_at.timestamp()),
        "model": job.model_id,
        "system_fingerprint": None,
        "backend": job.params["backend"],
        "job": str(job.pk),
    }


def choice_of(index: int, text: str, entries: Any, finish_reason: str | None) -> JsonObject:
    logprobs = older_logprobs(entries) if entries else None
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


def older_logprobs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The form that completions have of what chats tell of each token. Of two that are written alike it has the likelier."""
    tops = [{one["token"]: one["logprob"] for one in reversed(entry["top_logprobs"])} or None for entry in entries]
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": tops if any(tops) else None,
        "text_offset": [entry["offset"] for entry in entries],
    }
