"""OpenAI's Responses, over our jobs and conversations. A client that leaves takes its job with it, unless it runs in the background."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema_view
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.principals import Principal
from api.chat.models import Message
from api.dialects.models import StoredResponse
from api.dialects.openai.base import OpenAIDialect, OpenAIView
from api.dialects.openai.errors import render_error
from api.dialects.openai.responses import openapi, queries
from api.dialects.openai.responses.errors import PARAMS, in_words_of_responses
from api.dialects.openai.responses.fields import COUNTED, ResponseFields, chat_body, describe, split_body
from api.dialects.openai.responses.items import ReadInput, read_input
from api.dialects.openai.responses.lookup import find_item, find_response, input_items
from api.dialects.openai.responses.replies import render
from api.dialects.openai.responses.serializers import PREVIOUS, ContinuedChatSerializer, find_previous
from api.dialects.openai.responses.streaming import ResponseStream, written_so_far
from api.errors import DarkroomError
from api.files.services import link_inputs
from api.jobs.api.streaming import StreamResponse
from api.jobs.api.submission import Preference, Submission
from api.jobs.api.views import refuse_fields
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject
from api.problems import Problem
from api.strict import JsonParser, unknown_names


class ReadsAsResponse(OpenAIDialect):
    """What takes the body of `POST /v1/responses`."""

    parser_classes = [JsonParser]
    thing = "response"
    cancels_when_client_leaves = True

    def parse(self, request: Request) -> Submission:
        theirs, beside = split_body(self.body(request))
        self.asked = self.validated(ResponseFields, theirs).validated_data
        if self.asked["background"]:
            self.goes_on_alone = True
            self.preference = Preference(0, self.preference.applied)
        read = read_input(self.asked.pop("input"), lambda identifier: find_item(self.principal, identifier))
        submission = self.resolve(read, beside)
        return dataclasses.replace(
            submission,
            fingerprint=[submission.fingerprint, self.asked],
            link=self.linked(submission),
            warnings=(*submission.warnings, *describe(self.asked, beside, read)),
        )

    def resolve(self, read: ReadInput, beside: JsonObject) -> Submission:
        earlier = self.asked.get(PREVIOUS)
        context = {
            "instructions": self.asked.get("instructions", ""),
            "previous": find_previous(self.principal, earlier) if earlier else None,
        }
        try:
            serializer = self.validated(ContinuedChatSerializer, chat_body(self.asked, beside, read), **context)
        except ValidationError as error:
            raise in_words_of_responses(error, read) from None
        return serializer.resolve()  # type: ignore[no-any-return]

    def body(self, request: Request) -> Any:
        return request.data

    def linked(self, submission: Submission) -> Callable[[Job], None]:
        link_chat = submission.link
        asked = {name: value for name, value in self.asked.items() if name not in ("tools", "tool_choice", "text")}

        def link(job: Job) -> None:
            if link_chat is not None:
                link_chat(job)
            StoredResponse.objects.create(job=job, stored=asked["store"], asked=asked)

        return link

    def render(self, job: Job) -> HttpResponse:
        return JsonResponse(render(row_of(job)))

    def render_unfinished(self, job: Job) -> HttpResponse:
        return self.render(job) if self.asked["background"] else super().render_unfinished(job)

    def stream(self, job: Job) -> ResponseStream | None:
        return ResponseStream(row_of(job), at_once=self.asked["background"]) if self.asked["stream"] else None

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        said: Any = render_error(problem)
        return {"error": {**said["error"], "param": PARAMS.get(said["error"]["param"], said["error"]["param"])}}


@extend_schema_view(post=openapi.creates)
class ResponsesView(ReadsAsResponse):
    """`POST /v1/responses`."""


@extend_schema_view(post=openapi.counts)
class InputTokensView(ReadsAsResponse):
    """`POST /v1/responses/input_tokens`: what a request's `usage.input_tokens` would be.

    The model's own tokenizer and chat template are where the model is: it reads the request, and writes one token, which is dropped.
    """

    thing = "count"

    def parse(self, request: Request) -> Submission:
        if isinstance(request.data, Mapping) and (unknown := unknown_names(request.data, list(COUNTED), "field")):
            raise ValidationError(unknown, code="unknown_field")
        return super().parse(request)

    def body(self, request: Request) -> Any:
        return {**request.data, "max_output_tokens": 1, "store": False} if isinstance(request.data, Mapping) else request.data

    def linked(self, submission: Submission) -> Callable[[Job], None]:
        """No conversation, and no response."""
        return link_inputs(submission.spec) or (lambda job: None)

    def render(self, job: Job) -> HttpResponse:
        tokens = (job.result or {})["usage"]["prompt_tokens"]
        return JsonResponse({"object": "response.input_tokens", "input_tokens": tokens})


def row_of(job: Job) -> StoredResponse:
    row = StoredResponse.objects.get(job=job)
    row.job = job
    return row


class OneResponse(OpenAIView):
    """The requester's own, by its id."""

    def find(self, identifier: str) -> StoredResponse:
        return find_response(cast(Principal, self.request.auth), identifier)


class ResponseView(OneResponse):
    @openapi.shows
    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        row = self.find(response_id)
        after = queries.read_starting_after(request)
        if not queries.read_stream(request):
            is_written = row.job.status == Status.RUNNING
            return Response(render(row, written_so_far(row)) if is_written else render(row))
        return StreamResponse(ResponseStream(row, starting_after=after, at_once=True))

    @openapi.deletes
    def delete(self, request: Request, response_id: str) -> Response:
        delete_response(self.find(response_id))
        return Response({"id": response_id, "object": "response", "deleted": True})


class CancelView(OneResponse):
    @openapi.cancels
    def post(self, request: Request, response_id: str) -> Response:
        refuse_fields(request)
        row = self.find(response_id)
        row.job = cancel_job(job=row.job)
        return Response(render(row))


class InputItemsView(OneResponse):
    @openapi.lists_items
    def get(self, request: Request, response_id: str) -> Response:
        return Response(queries.page_of(input_items(self.find(response_id)), request))


def delete_response(row: StoredResponse) -> None:
    """With its job, unless other answers go on from it: they need what was said. DarkroomError 409 while it is written."""
    job = cancel_job(job=row.job)
    if job.status == Status.RUNNING:
        raise DarkroomError("response_in_progress", 409, "It is being written, and was asked to stop; delete it once it has.")
    if Message.objects.filter(parent__job=job).exclude(job=job).exists():
        StoredResponse.objects.filter(pk=job.pk).update(stored=False)
    else:
        job.delete()
