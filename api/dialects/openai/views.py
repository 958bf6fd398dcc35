"""OpenAI's chat completions and list of models, over our jobs. A client that leaves takes its job with it (API.md, Jobs)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.catalog import ModelEntry, UnknownModel
from api.chat.backend_selection import TASKS, chat_models, remote_models
from api.chat.models import Message
from api.chat.serializers import ChatSerializer
from api.dialects.openai import openapi, replies
from api.dialects.openai.errors import render_error
from api.dialects.openai.streaming import ChunkStream
from api.errors import DarkroomError
from api.jobs.api.dialect import Dialect
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject
from api.problems import Problem
from api.strict import AlwaysJson, JsonParser
from config.catalog import get_catalog

PATIENCE_SECONDS = 86_400.0
"""OpenAI's clients know no 202: they are answered when the answer is there, or leave when they have waited long enough."""


class JsonWhereNothingIsSaid(AlwaysJson):
    """A body without a Content-Type is read as JSON, which is all that these addresses take."""

    def select_parser(self, request: Request, parsers: Iterable[object]) -> Any:
        return super().select_parser(request, parsers) if request.content_type else JsonParser()


class OpenAIView(APIView):
    error_form = openapi.ERROR
    content_negotiation_class = JsonWhereNothingIsSaid


@extend_schema_view(post=openapi.chats)
class ChatCompletionsView(OpenAIView, Dialect):
    """`POST /v1/chat/completions`. `backend`: forced by the older server's second path."""

    parser_classes = [JsonParser]
    backend = ""
    source = "openai"
    thing = "answer"
    default_wait = PATIENCE_SECONDS
    cancels_when_client_leaves = True
    refusals = openapi.REFUSALS

    def parse(self, request: Request) -> Submission:
        serializer = self.validated(ChatSerializer, self.read_body(request))
        asked = serializer.validated_data
        self.wants_stream = asked.get("stream", False)
        self.include_usage = asked.get("stream_options", {}).get("include_usage", False)
        return serializer.resolve()  # type: ignore[no-any-return]

    def read_body(self, request: Request) -> Any:
        if not self.backend or not isinstance(request.data, dict):
            return request.data
        if request.data.get("backend") not in (None, "auto", self.backend):
            raise DarkroomError("unfit_backend", 400, f"This address answers with the backend {self.backend}.")
        return {**request.data, "backend": self.backend}

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse(replies.completion(job))

    def render_failure(self, job: Job) -> HttpResponse:
        """The same would happen again at once, so SDKs are told not to try."""
        response = super().render_failure(job)
        response["x-should-retry"] = "true" if response.status_code == 503 else "false"
        return response

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        return render_error(problem)

    def stream(self, job: Job) -> ChunkStream | None:
        if not self.wants_stream:
            return None
        conversation = Message.objects.filter(job=job).values_list("conversation_id", flat=True).first()
        return ChunkStream(job, str(conversation) if conversation else None, include_usage=self.include_usage)


# ---------------------------------------------------------------- models


class ModelsView(OpenAIView):
    @openapi.lists_models
    def get(self, request: Request) -> Response:
        data = [*map(described, chat_models()), *map(partial(card, owner="remote"), remote_models())]
        return Response({"object": "list", "data": data})


class ModelView(OpenAIView):
    @openapi.shows_model
    def get(self, request: Request, model_id: str) -> Response:
        try:
            entry = get_catalog().get(model_id)
        except UnknownModel as error:
            if model_id in remote_models():
                return Response(card(model_id, owner="remote"))
            raise DarkroomError("model_not_found", 404, str(error)) from None
        if entry.task not in TASKS:
            raise DarkroomError("model_not_found", 404, f"'{model_id}' is no chat model.")
        return Response(described(entry))


def described(entry: ModelEntry) -> dict[str, object]:
    return {**card(entry.id, owner=(entry.repo or "darkroom/").split("/")[0]), "task": entry.task, "licence": entry.licence}


def card(name: str, *, owner: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
