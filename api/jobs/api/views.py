"""The history over HTTP."""

import json
import uuid
from collections.abc import Iterator
from typing import Any, cast

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.principals import Principal, principal_of, visible_to
from api.access.scopes import READ
from api.errors import DarkroomError
from api.jobs.api.database_calls import in_thread
from api.jobs.api.dialect import job_response
from api.jobs.api.selectors import JobFilter, queue_positions
from api.jobs.api.serializers import JobSerializer, render_result
from api.jobs.api.streaming import HEADERS, JobStream, StreamResponse
from api.jobs.api.submission import read_idempotency_key, read_include
from api.jobs.lifecycle import cancel_job, retry_job
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.problems import problem_response, refusal_response
from api.queries import check_parameters
from api.strict import NewestFirst, StrictSerializer
from config.stopping import RETRY_SECONDS


class JobViewSet(mixins.RetrieveModelMixin, mixins.DestroyModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet[Job]):
    """Every request that was accepted, newest first."""

    queryset = Job.objects.all()
    serializer_class = JobSerializer
    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    filterset_class = JobFilter
    lookup_value_converter = "uuid"
    query_parameters = dict.fromkeys(("list", "retrieve", "cancel"), ("include",))

    def get_queryset(self) -> Any:
        return visible_to(cast(Principal, self.request.auth), super().get_queryset())

    def get_serializer_context(self) -> dict[str, object]:
        return {**super().get_serializer_context(), "include": read_include(self.request)}

    def list(self, request: Request, *args: object, **kwargs: object) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        context = {**self.get_serializer_context(), "positions": queue_positions(page)}
        return self.get_paginated_response(JobSerializer(page, many=True, context=context).data)

    def perform_destroy(self, job: Job) -> None:
        job = cancel_job(job=job)
        if job.status == Status.RUNNING:
            raise DarkroomError("job_running", 409, "The job is running; it was asked to stop, delete it once it has.")
        try:
            job.delete()
        except IntegrityError:  # a retry of it, or a job that starts from its picture, came between two of its statements
            job.delete()

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, **kwargs: object) -> Response:
        """Queued: at once. Running: at the next step. Ended: no change."""
        refuse_fields(request)
        return Response(self.get_serializer(cancel_job(job=self.get_object())).data)

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, **kwargs: object) -> HttpResponse:
        """A new job with the same resolved parameters, seeds included, linked to the old one. There are no fields to change."""
        refuse_fields(request)
        return job_response(retry_job(job=self.get_object(), idempotency_key=read_idempotency_key(request)), request)


class NoFields(StrictSerializer):
    """A body may be left out, or be empty."""


def refuse_fields(request: Request) -> None:
    """Raises ValidationError, which names them: what a client sent and we ignored would be lost in silence."""
    NoFields(data=request.data).is_valid(raise_exception=True)


# ---------------------------------------------------------------- events


def find_job(request: HttpRequest, job_id: uuid.UUID) -> Job | None:
    principal: Principal = principal_of(request, scope="read")
    check_parameters(request.GET, [])
    return visible_to(principal, Job.objects.filter(pk=job_id)).first()


def read_last_event_id(request: HttpRequest) -> int:
    value = request.headers.get("Last-Event-ID", "0").strip() or "0"
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise ValidationError({"Last-Event-ID": ["Must be the id of an event of this job."]})
    return int(value)


async def job_events(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:
    """Server-Sent Events: status, progress (with preview), token, result, error. Resumed by Last-Event-ID."""
    if request.method not in ("GET", "HEAD"):
        return problem_response(405, "method_not_allowed", f"{request.method} is not allowed here.", {"Allow": "GET, HEAD"})
    try:
        after = read_last_event_id(request)
        job = await in_thread(find_job, request, id)
    except APIException as error:
        return refusal_response(error)
    if job is None:
        return problem_response(404, "not_found", "There is no such job.")
    return HttpResponse(headers=HEADERS) if request.method == "HEAD" else stream_events(request, job, after)


def stream_events(request: HttpRequest, job: Job, after: int) -> StreamResponse:
    return StreamResponse(EventStream(request, job, after).for_request(request, READ))


class EventStream(JobStream):
    """First a comment, so that a proxy passes the headers on; then the events, each with its number."""

    shows_previews = True

    def __init__(self, request: HttpRequest, job: Job, after: int) -> None:
        super().__init__(job.id, after)
        self.request = request

    def begin(self) -> Iterator[bytes]:
        yield b": Darkroom\n\n"

    def interrupt(self) -> Iterator[bytes]:
        yield b": This server restarts: come back with Last-Event-ID.\nretry: %d\n\n" % (RETRY_SECONDS * 1000)

    def encode(self, event: JobEvent) -> Iterator[bytes]:
        name = "progress" if event.type == "preview" else event.type
        data = json.dumps(self.data_of(event), separators=(",", ":"))
        yield f"id: {event.sequence}\nevent: {name}\ndata: {data}\n\n".encode()

    def data_of(self, event: JobEvent) -> object:
        if event.type != "result":
            return event.data
        finished = Job.objects.filter(pk=self.job_id).first()
        return render_result(finished, self.request) if finished else {}
