"""OpenAI's chat completions and list of models, over our jobs. A client that leaves takes its job with it (API.md, Jobs)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial, update_wrapper
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.catalog import ModelEntry, UnknownModel
from api.chat.backend_selection import TASKS, chat_models, remote_models
from api.chat.models import Message
from api.chat.serializers import ChatSerializer
from api.dialects.openai import document, replies
from api.dialects.openai.errors import envelope, handler, job_error
from api.dialects.openai.streaming import ChatStream, Narrator, leave, result_of
from api.errors import DarkroomError
from api.jobs.api.submission import JobResponse, Preference, call, read_idempotency_key, read_preference, submit
from api.jobs.api.waiting import follow_events, in_thread, in_thread_when_back, wait_until_final
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.strict import AlwaysJson, JsonParser
from config.catalog import get_catalog

PATIENCE_SECONDS = 86_400.0
"""OpenAI's clients know no 202: they are answered when the answer is there, or leave when they have waited long enough."""
SILENCE_SECONDS = 15.0
QUIET = ("status", "progress", "preview")
"""Events that come before the first word. Until one of another kind comes, a failure can still be told by its status."""


class JsonWhereNothingIsSaid(AlwaysJson):
    """A body without a Content-Type is read as JSON, which is all that these addresses take."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return super().select_parser(request, parsers) if request.content_type else JsonParser()


class OpenAIView(APIView):
    error_form = document.ERROR
    content_negotiation_class = JsonWhereNothingIsSaid

    def get_exception_handler(self) -> Any:
        return handler


class ChatCompletionsView(OpenAIView):
    """`POST /v1/chat/completions`. `backend`: forced by the older server's second path."""

    required_scope = "submit"
    parser_classes = [JsonParser]
    backend = ""
    waits = True
    refusals = document.REFUSALS

    @document.chats
    def post(self, request: Request) -> HttpResponseBase:
        key = read_idempotency_key(request)
        serializer = ChatSerializer(data=self.read_body(request), context={"request": request, "principal": request.auth})
        serializer.is_valid(raise_exception=True)
        job = submit(serializer.resolve(), principal=request.auth, idempotency_key=key)
        response = JobResponse(job)
        asked = serializer.validated_data
        response.asked = Asked(job, request._request, asked.get("stream", False), asked.get("stream_options", {}))  # type: ignore[attr-defined]
        return response

    def read_body(self, request: Request) -> Any:
        if not self.backend or not isinstance(request.data, dict):
            return request.data
        if request.data.get("backend") not in (None, "auto", self.backend):
            raise DarkroomError("unfit_backend", 400, f"This address answers with the backend {self.backend}.")
        return {**request.data, "backend": self.backend}

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return answering(super().as_view(**initkwargs))


class Asked:
    """A job that a client waits for, and how."""

    def __init__(self, job: Job, request: HttpRequest, stream: bool, options: dict[str, Any]) -> None:
        self.job, self.stream = job, stream
        self.include_usage = bool(options.get("include_usage"))
        header = request.headers.get("Prefer", "")
        given = read_preference(header)
        self.preference = given if given.applied else Preference(PATIENCE_SECONDS)
        self.kept = given.applied == "respond-async" or "Idempotency-Key" in request.headers
        asked = Message.objects.filter(job=job).values_list("conversation_id", flat=True).first()
        self.conversation = str(asked) if asked else None


def answering(view: Any) -> Any:
    async def submit_and_answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        submitting = asyncio.ensure_future(in_thread(call, view, request, args, kwargs, False))
        try:
            response = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(leave_when_submitted)
            raise
        asked: Asked | None = getattr(response, "asked", None)
        if asked is None:
            return response
        if (
            asked.preference.applied == "respond-async" and not asked.job.is_final
        ):  # an earlier request's may have ended long ago
            return with_preference(response, asked)
        try:
            answer = await (begin_stream(asked) if asked.stream else wait_for_answer(asked))
        except asyncio.CancelledError:
            if not asked.kept:
                go_later(asked.job)
            raise
        return with_preference(answer or response, asked)

    wrapped = update_wrapper(submit_and_answer, view)
    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def with_preference(response: HttpResponseBase, asked: Asked) -> HttpResponseBase:
    if asked.preference.applied and (asked.preference.seconds or response.status_code == 202):
        response["Preference-Applied"] = asked.preference.applied
    return response


_leaving: set[asyncio.Task[None]] = set()


def go_later(job: Job) -> None:
    """Cancel it in a task of its own: the request's is being cancelled itself."""
    task = asyncio.get_running_loop().create_task(in_thread_when_back(leave, job))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


def leave_when_submitted(done: "asyncio.Future[Any]") -> None:
    asked = None if done.cancelled() or done.exception() else getattr(done.result(), "asked", None)
    if asked is not None and not asked.kept:
        go_later(asked.job)


# ---------------------------------------------------------------- the whole answer


async def wait_for_answer(asked: Asked) -> HttpResponseBase | None:
    """None where the client wanted to wait no longer."""
    if not asked.job.is_final and not await wait_until_final(asked.job.pk, asked.preference.seconds):
        return None
    return await in_thread_when_back(whole_answer, asked.job)


def whole_answer(job: Job) -> HttpResponseBase:
    found = Job.objects.filter(pk=job.pk).first()
    if found is None or found.status == Status.CANCELLED:
        return JsonResponse(envelope(409, "cancelled", "The answer was cancelled."), status=409)
    return job_error(found.error or {}) if found.status == Status.FAILED else JsonResponse(replies.completion(found))


# ---------------------------------------------------------------- a stream


async def begin_stream(asked: Asked) -> HttpResponseBase:
    """Once the first word is there, or has been waited for so long that the client must hear something."""
    events = follow_events(asked.job.pk, 0, SILENCE_SECONDS)
    first, over = await first_word(events)
    if over and await in_thread_when_back(result_of, asked.job) is None:
        return await in_thread_when_back(whole_answer, asked.job)
    narrator = Narrator(asked.job, asked.conversation, include_usage=asked.include_usage)
    return ChatStream(narrator, events, first, kept=asked.kept)


async def first_word(events: AsyncIterator[JobEvent | None]) -> tuple[JobEvent | None, bool]:
    """The first event that isn't quiet, or None after a silence; and whether the job had ended without a word (left to read)."""
    patience = time.monotonic() + SILENCE_SECONDS
    async for event in events:
        if event is not None and event.type not in QUIET:
            return event, event.type == "error"
        if time.monotonic() >= patience:
            return None, False
    return None, True


# ---------------------------------------------------------------- models


class ModelsView(OpenAIView):
    @document.lists_models
    def get(self, request: Request) -> Response:
        data = [*map(described, chat_models()), *map(partial(card, owner="remote"), remote_models())]
        return Response({"object": "list", "data": data})


class ModelView(OpenAIView):
    @document.shows_model
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


def described(entry: ModelEntry) -> dict[str, Any]:
    return {**card(entry.id, owner=(entry.repo or "darkroom/").split("/")[0]), "task": entry.task, "licence": entry.licence}


def card(name: str, *, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}
