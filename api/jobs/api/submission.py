"""From a capability's POST to its answer: validate once, commit a row, and wait for it without holding a thread.

`Prefer: respond-async` and `Prefer: wait=N` (RFC 7240) and `Idempotency-Key` are understood here, for every capability alike.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from api.jobs.api.serializers import JobSerializer
from api.jobs.api.waiting import in_thread, in_thread_when_back, wait_until_final
from api.jobs.lifecycle import submit_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store import transitions
from api.specs import Spec
from api.strict import nearest

LONGEST_WAIT = 300
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
INCLUDES = ("base64",)


@dataclass(frozen=True)
class Submission:
    """What a serializer's `resolve` makes of valid data: the request with nothing left open, and what the queue is to know of it.

    `link` ties the job to what belongs to it, where that is more than the input files that its kind finds in the request.
    """

    spec: Spec
    priority: int = 0
    fingerprint: Any = None  # what the client asked, before seeds were drawn: equal requests have equal ones
    link: Callable[[Job], None] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Preference:
    """`seconds` to wait for the job, and what to say of it in Preference-Applied."""

    seconds: float
    applied: str = ""


def read_preference(header: str) -> Preference:
    """RFC 7240. What isn't understood is ignored, as that RFC asks."""
    parts = [part.strip().lower() for part in header.split(",")]
    if "respond-async" in parts:
        return Preference(0, "respond-async")
    for part in parts:
        if match := re.fullmatch(r"wait\s*=\s*\"?(\d{1,6})\"?", part):
            seconds = min(int(match[1]), LONGEST_WAIT)
            return Preference(seconds, f"wait={seconds}")
    return Preference(settings.SYNC_WAIT_SECONDS)


def read_idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["Must be 1 to 255 printable ASCII characters without spaces."]})
    return key


def read_include(request: Request) -> frozenset[str]:
    asked = frozenset(part for part in request.query_params.get("include", "").split(",") if part)
    for name in asked - set(INCLUDES):
        raise ValidationError({"include": [f"There is nothing to include by this name.{nearest(name, list(INCLUDES))}"]})
    return asked


def fingerprint(submission: Submission) -> str:
    asked = submission.spec.to_json() if submission.fingerprint is None else submission.fingerprint
    return hashlib.sha256(json.dumps([submission.spec.kind, asked], sort_keys=True, default=str).encode()).hexdigest()


def submit(submission: Submission, *, principal: Any, idempotency_key: str | None = None) -> Job:
    return submit_job(
        spec=submission.spec,
        priority=submission.priority,
        owner_key=principal.owner_key,
        max_active=principal.max_active_jobs,
        idempotency_key=idempotency_key,
        body_hash=fingerprint(submission),
        link=submission.link,
    )


class JobResponse(HttpResponse):
    """The answer to a request that has become a job; empty until `show` writes into it how the job stands."""

    def __init__(self, job: Job, include: frozenset[str] = frozenset()) -> None:
        super().__init__(content_type="application/json")
        self.job, self.include = job, include

    def show(self, request: HttpRequest) -> None:
        """202 and where to look; 201, or the status of its error, once it has ended."""
        self.data = JobSerializer(self.job, context={"request": request, "include": self.include}).data
        self.content = JSONRenderer().render(self.data)
        self.status_code = status_of(self.job)
        self["Location"] = self.data["links"]["self"]


class SubmitView(APIView):
    """The base of a capability's POST. Sync, as DRF is; `as_view` gives the async view around it that does the waiting."""

    serializer_class: ClassVar[type[BaseSerializer[Any]]]
    required_scope = "submit"
    query_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {"post": ("include",)}

    def post(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        key = read_idempotency_key(request)
        include = read_include(request)
        submission = self.get_submission(request, **kwargs)
        return JobResponse(submit(submission, principal=request.auth, idempotency_key=key), include)

    def get_submission(self, request: Request, **kwargs: Any) -> Submission:
        serializer = self.serializer_class(data=request.data, context={"request": request, "principal": request.auth})
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()  # type: ignore[attr-defined]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return waiting(super().as_view(**initkwargs))


def waiting(view: Callable[..., Any]) -> Callable[..., Awaitable[HttpResponseBase]]:
    async def submit_and_wait(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        preference = read_preference(request.META.get("HTTP_PREFER", ""))  # a dialect may have set it; `headers` is a copy
        response = await in_thread(call, view, request, args, kwargs, bool(preference.seconds))
        if not isinstance(response, JobResponse):
            return response
        if not response.content:
            await wait_until_final(response.job.id, preference.seconds)
            await in_thread_when_back(show_as_it_stands, response, request)
        if preference.applied:
            response["Preference-Applied"] = preference.applied
        return response

    wrapped = update_wrapper(submit_and_wait, view)
    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def call(view: Callable[..., Any], request: HttpRequest, args: Any, kwargs: Any, wait: bool) -> HttpResponseBase:
    """The view's response, ready to be sent; that of a job which is waited for is left empty."""
    response = view(request, *args, **kwargs)
    if isinstance(response, JobResponse) and (response.job.is_final or not wait):
        response.show(request)
    elif isinstance(response, Response):
        response.render()
    return response


def show_as_it_stands(response: JobResponse, request: HttpRequest) -> None:
    """Or as it was accepted, where it was deleted meanwhile."""
    response.job = transitions.find_job(response.job.pk) or response.job
    response.show(request)


def status_of(job: Job) -> int:
    if not job.is_final:
        return 202
    if job.status == Status.FAILED and job.error:
        return int(job.error["status"])
    return 409 if job.status == Status.CANCELLED else 201
