"""OpenAI's chat completions, over our jobs. A client that leaves takes its job with it (API.md, Jobs)."""

from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema_view
from rest_framework.request import Request

from api.chat.models import Message
from api.chat.serializers import ChatSerializer
from api.dialects.openai import openapi, replies
from api.dialects.openai.base import OpenAIDialect
from api.dialects.openai.streaming import ChunkStream
from api.errors import DarkroomError
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.strict import JsonParser


@extend_schema_view(post=openapi.chats)
class ChatCompletionsView(OpenAIDialect):
    """`POST /v1/chat/completions`. `backend`: forced by the older server's second path."""

    parser_classes = [JsonParser]
    backend = ""
    thing = "answer"
    cancels_when_client_leaves = True

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
        return JsonResponse(replies.completion(job, self.request))

    def stream(self, job: Job) -> ChunkStream | None:
        if not self.wants_stream:
            return None
        conversation = Message.objects.filter(job=job).values_list("conversation_id", flat=True).first()
        return ChunkStream(
            job, str(conversation) if conversation else None, include_usage=self.include_usage, request=self.request
        )
