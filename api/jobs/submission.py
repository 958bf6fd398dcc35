"""From a capability's POST to its answer: validate once, commit a row, and wait for it without holding a thread.

`Prefer: respond-async` and `Prefer: wait=N` (RFC 7240) and `Idempotency-Key` are understood here, for every capability alike.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from api.jobs.events import in_thread, wait_until_final
from api.jobs.models import Job
from api.jobs.serializers import JobSerializer
from api.jobs.services import submit_job
from api.jobs.states import Status
from api.strict import nearest

LONGEST_WAIT = 300
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
INCLUDES = ("base64",)


@dataclass(frozen=True)
class Submission:
    """What a serializer's `resolve` makes of valid data: everything that a job needs, with nothing left open."""

    kind: str
    params: dict[str, Any]
    model_id: str = ""
    prompt: str = ""
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
    asked = submission.params if submission.fingerprint is None else submission.fingerprint
    return hashlib.sha256(json.dumps([submission.kind, asked], sort_keys=True, default=str).encode()).hexdigest()


def submit(submission: Submission, *, principal: Any, idempotency_key: str | None = None) -> Job:
    return submit_job(
        kind=submission.kind,
        params=submission.params,
        model_id=submission.model_id,
        prompt=submission.prompt,
        priority=submission.priority,
        owner_key=principal.owner_key,
        max_active=principal.max_active_jobs,
        idempotency_key=idempotency_key,
        body_hash=fingerprint(submission),
        link=submission.link,
    )


class SubmitView(APIView):
    """The base of a capability's POST. Sync, as DRF is; `as_view` gives the async view around it that does the waiting."""

    serializer_class: ClassVar[type[BaseSerializer[Any]]]
    required_scope = "submit"

    def post(self, request: Request, **kwargs: Any) -> Response:
        key = read_idempotency_key(request)
        include = read_include(request)
        submission = self.get_submission(request, **kwargs)
        job = submit(submission, principal=request.auth, idempotency_key=key)
        response = accepted(job, request, include)
        response.waiting_for = job  # type: ignore[attr-defined]
        response.include = include  # type: ignore[attr-defined]
        return response

    def get_submission(self, request: Request, **kwargs: Any) -> Submission:
        serializer = self.serializer_class(data=request.data, context={"request": request, "principal": request.auth})
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()  # type: ignore[attr-defined]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return waiting(super().as_view(**initkwargs))


def waiting(view: Callable[..., Response]) -> Callable[..., Awaitable[HttpResponseBase]]:
    async def submit_and_wait(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await in_thread(call_and_render, view, request, args, kwargs)
        job = getattr(response, "waiting_for", None)
        if job is None:
            return response
        preference = read_preference(request.headers.get("Prefer", ""))
        if job.is_final or (preference.seconds and await wait_until_final(job.id, preference.seconds)):
            response = await in_thread(finished, job.id, request, response)
        if preference.applied:
            response["Preference-Applied"] = preference.applied
        return response

    wrapped = update_wrapper(submit_and_wait, view)
    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def call_and_render(view: Callable[..., Response], request: HttpRequest, args: Any, kwargs: Any) -> Response:
    response = view(request, *args, **kwargs)
    return response.render() if hasattr(response, "render") and not response.is_rendered else response


def accepted(job: Job, request: Any, include: Iterable[str] = ()) -> Response:
    """202: the job as it is, and where to look."""
    body = JobSerializer(job, context={"request": request, "include": include}).data
    return Response(body, status=202, headers={"Location": body["links"]["self"]})


def finished(job_id: Any, request: HttpRequest, response: Response) -> Response:
    """The job that has ended: 201, or the status of its error; the 202 that was, where it was deleted meanwhile."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        return response
    body = JobSerializer(job, context={"request": request, "include": response.include}).data  # type: ignore[attr-defined]
    response.data = body
    response.status_code = status_of(job)
    response._is_rendered = False  # type: ignore[attr-defined]
    return response.render()


def status_of(job: Job) -> int:
    if job.status == Status.FAILED and job.error:
        return int(job.error["status"])
    return 409 if job.status == Status.CANCELLED else 201
