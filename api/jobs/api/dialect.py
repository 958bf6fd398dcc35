"""The one way from a request to a job's answer: parse, submit, wait without holding a thread, render; or stream.

A `Dialect` says how one address of an API reads and writes. This server's own API is one (`SubmitView`), and so are those of other
servers (api/dialects). `Prefer` (RFC 7240), `Idempotency-Key`, clients that leave and databases that restart are dealt with here, for
all of them alike.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import update_wrapper
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from api.jobs.api.database_calls import in_thread, in_thread_when_back
from api.jobs.api.serializers import JobSerializer, render_result
from api.jobs.api.streaming import JobStream, StreamResponse
from api.jobs.api.submission import (
    ASYNC,
    Preference,
    Submission,
    read_idempotency_key,
    read_include,
    read_preference,
    submit,
)
from api.jobs.api.waiting import wait_until_final
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.webhooks import Webhook
from api.problems import Problem, problem_body
from config.stopping import RETRY_SECONDS, stopping

Include = frozenset[str]
UNTIL_IT_ENDS = 86_400.0
"""`default_wait` of APIs whose clients know no 202: they are answered when the job has ended, or leave when they have waited enough."""


class Dialect(APIView, ABC):
    """A POST that makes a job. A subclass has `parse` and `render`, and what else its clients expect to be different.

    DRF makes one for each request: what `parse` keeps of the request on `self` is there for the others. They run in a thread.
    """

    required_scope = "submit"
    source: ClassVar[str]
    """The API's name in the history: Job.source."""
    thing: ClassVar[str] = "result"
    """What the job makes, in a sentence."""
    default_wait: ClassVar[float | None] = None
    """Seconds that a client waits which says nothing of it. None: SYNC_WAIT_SECONDS."""
    cancels_when_client_leaves: ClassVar[bool] = False
    """Unless it sent `Prefer: respond-async` or an Idempotency-Key."""
    goes_on_alone = False
    """Whether this request's body says that its job goes on without its client. Set by `parse`."""
    preference: Preference
    asked_at: float | None = None
    """Before its job was looked up or submitted."""
    webhook: Webhook | None = None
    """What the body's `webhook` says: set by `validated`, of the client's own body or of what it was translated into."""

    @abstractmethod
    def parse(self, request: Request) -> Submission:
        """Raises ValidationError and DarkroomError for what it refuses."""

    @abstractmethod
    def render(self, job: Job) -> HttpResponse:
        """Of a job that succeeded."""

    def render_error(self, problem: Problem) -> Mapping[str, object]:
        """The body of every error: status, code, detail, and errors (field, code, detail) where a request was not valid.

        As it is (RFC 9457) where a dialect has no form of its own.
        """
        return problem

    def stream(self, job: Job) -> JobStream | None:
        """None where the client asked for no stream."""
        return None

    def render_failure(self, job: Job) -> HttpResponse:
        """Of a job that failed or was cancelled."""
        error = job.error or {"status": 409, "code": "cancelled", "detail": f"The {self.thing} was cancelled."}
        return JsonResponse(
            dict(self.render_error(problem_body(error["status"], error["code"], error["detail"]))), status=error["status"]
        )

    def render_unfinished(self, job: Job) -> HttpResponse:
        """Of a job that the client waits for no longer."""
        return job_response(job, self.request)

    def render_restarting(self, job: Job) -> HttpResponse:
        """Of a job whose client knows no other answer than its end, where this process must stop before that."""
        problem = problem_body(
            503, "restarting", f"The server is restarting and the {self.thing} is not ready yet; send this again."
        )
        return JsonResponse(dict(self.render_error(problem)), status=503, headers={"Retry-After": str(RETRY_SECONDS)})

    # ------------------------------------------------------------ for subclasses

    def validated(self, serializer_class: Any, data: Any, **context: Any) -> Any:
        """A capability's serializer that has read a body; its `resolve` makes the submission. Raises ValidationError."""
        context = {"request": self.request, "principal": self.request.auth, **context}
        serializer = serializer_class(data=data, context=context)
        serializer.is_valid(raise_exception=True)
        self.webhook = getattr(serializer, "read_webhook", None) or self.webhook
        return serializer

    def result(self, job: Job, *include: str) -> dict[str, Any]:
        """As /api/jobs/ gives it, of a job that succeeded."""
        return render_result(job, self.request, frozenset(include)) or {}

    # ------------------------------------------------------------ the way itself

    def post(self, request: Request, **kwargs: object) -> HttpResponseBase:
        self.preference = read_preference(request.headers.get("Prefer", ""), self.default_wait)
        self.asked_at = time.monotonic()
        key = read_idempotency_key(request)
        job = self.submit(self.parse(request), key)
        return Accepted(self, job, may_cancel=self.cancels_when_client_leaves and key is None and not self.goes_on_alone)

    def submit(self, submission: Submission, idempotency_key: str | None) -> Job:
        """With the webhook of what was validated last."""
        return submit(
            submission,
            principal=self.request.auth,
            source=self.source,
            idempotency_key=idempotency_key,
            webhook=self.webhook,
            origin=self.request.build_absolute_uri("/").rstrip("/"),
        )

    def answer(self, job: Job) -> HttpResponse:
        if job.status == Status.SUCCEEDED:
            return self.render(job)
        if job.is_final:
            return self.render_failure(job)
        return self.render_restarting(job) if self.preference.seconds >= UNTIL_IT_ENDS else self.render_unfinished(job)

    @classmethod
    def as_view(cls, **initkwargs: object) -> Any:
        return waiting_view(super().as_view(**initkwargs))


class SubmitView(Dialect):
    """This server's own: the answer is the job, whatever became of it."""

    source = "api"
    serializer_class: ClassVar[type[BaseSerializer[Any]]]
    query_parameters: ClassVar[Mapping[str, tuple[str, ...]]] = {"post": ("include",)}

    def parse(self, request: Request) -> Submission:
        self.include = read_include(request)
        return self.parse_body(request)

    def parse_body(self, request: Request) -> Submission:
        return self.validated(self.serializer_class, request.data).resolve()  # type: ignore[no-any-return]

    def render(self, job: Job) -> HttpResponse:
        return job_response(job, self.request, self.include)

    render_failure = render_unfinished = render


def job_response(job: Job, request: object, include: Include = frozenset()) -> HttpResponse:
    """202 and where to look; 201, or the status of its error, once it has ended."""
    data = JobSerializer(job, context={"request": request, "include": include}).data
    body = JSONRenderer().render(data)
    return HttpResponse(
        body, content_type="application/json", status=status_of(job), headers={"Location": data["links"]["self"]}
    )


def status_of(job: Job) -> int:
    if not job.is_final:
        return 202
    if job.status == Status.FAILED and job.error:
        return int(job.error["status"])
    return 409 if job.status == Status.CANCELLED else 201


class Accepted(HttpResponse):
    """What a view answers once a job was submitted. It is never sent: the job's answer takes its place, and its headers."""

    def __init__(self, dialect: Dialect, job: Job, *, may_cancel: bool) -> None:
        super().__init__()
        self.dialect, self.job = dialect, job
        self.wants_it_later = dialect.preference.applied == ASYNC
        self.may_cancel = may_cancel and not self.wants_it_later
        self.stream = None if self.wants_it_later and not job.is_final else dialect.stream(job)

    @property
    def needs_no_wait(self) -> bool:
        return self.stream is None and (self.job.is_final or not self.dialect.preference.seconds)

    def answer(self) -> HttpResponseBase:
        return self.finish(self.dialect.answer(self.job))

    def answer_as_it_stands(self) -> HttpResponseBase:
        """A job that was deleted meanwhile counts as cancelled: it will never end otherwise."""
        found = transitions.find_job(self.job.pk)
        if found is None:
            self.job.status, self.job.error = Status.CANCELLED, None
        self.job = found or self.job
        self.give_up()
        return self.answer()

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        del self["Content-Type"]
        for name, value in self.items():
            response[name] = value
        if not response.has_header("Location"):
            response["Location"] = self.dialect.request.build_absolute_uri(reverse("job-detail", args=[self.job.pk]))
        applied = self.dialect.preference.applied
        if applied and (response.status_code == 202 or not self.wants_it_later):
            response["Preference-Applied"] = applied
        return response

    async def wait(self) -> HttpResponseBase:
        if self.stream is not None:
            return await self.begin(self.stream)
        await wait_until_final(self.job.pk, self.dialect.preference.seconds, since=self.dialect.asked_at)
        return await in_thread_when_back(self.answer_as_it_stands)

    def give_up(self) -> None:
        """A client that is sent away with an error sends its request anew: nobody would read this job's answer."""
        if self.may_cancel and stopping.waits_are_over and not self.job.is_final:
            self.cancel()

    async def begin(self, stream: JobStream) -> HttpResponseBase:
        """Once there is something to tell, or a long silence. Until then a failure can still be told by its status."""
        request = getattr(self.dialect.request, "_request", self.dialect.request)
        chunks = stream.for_request(request, self.dialect.required_scope).follow()
        first = await anext(chunks, None)
        if first is None or stream.interrupted or stream.status in (None, Status.FAILED, Status.CANCELLED):
            await chunks.aclose()
            return await in_thread_when_back(self.answer_as_it_stands)
        return self.finish(StreamResponse(stream, beginning_with(first, chunks), self.cancel if self.may_cancel else None))

    def cancel(self) -> None:
        """The client is gone: its job stops at its next step."""
        if Job.objects.filter(pk=self.job.pk).exists():
            cancel_job(job=self.job)

    def leave(self) -> None:
        """In a task of its own: the request's is being cancelled itself."""
        if self.may_cancel:
            task = asyncio.get_running_loop().create_task(in_thread_when_back(self.cancel))
            _leaving.add(task)
            task.add_done_callback(_leaving.discard)


_leaving: set[asyncio.Task[None]] = set()


async def beginning_with(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def waiting_view(view: Callable[..., HttpResponseBase]) -> Callable[..., Awaitable[HttpResponseBase]]:
    """The async view around DRF's sync one."""

    async def submit_and_wait(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        submitting = asyncio.ensure_future(in_thread(call, view, request, *args, **kwargs))
        try:
            response = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(leave_when_submitted)
            raise
        if not isinstance(response, Accepted):
            return response
        try:
            return await response.wait()
        except asyncio.CancelledError:
            response.leave()
            raise

    wrapped = update_wrapper(submit_and_wait, view)
    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def leave_when_submitted(submitting: "asyncio.Future[HttpResponseBase]") -> None:
    if not submitting.cancelled() and not submitting.exception() and isinstance(response := submitting.result(), Accepted):
        response.leave()


def call(view: Callable[..., HttpResponseBase], request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
    """The view's response, ready to be sent; `Accepted` where its job has to be waited for."""
    response = view(request, *args, **kwargs)
    if isinstance(response, Accepted) and response.needs_no_wait:
        return response.answer()
    if isinstance(response, Response):
        response.render()
    return response
