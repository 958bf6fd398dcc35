"""A job's progress as parts of a page, pushed: an event's data is HTML for the old part's place (htmx's `sse-swap`)."""

import uuid
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.translation import get_language, override
from rest_framework.exceptions import APIException

from api.access.principals import Principal, principal_of, visible_to
from api.access.scopes import READ, SUBMIT
from api.jobs.api.database_calls import in_thread
from api.jobs.api.streaming import JobStream, StreamResponse
from api.jobs.models import Job, JobEvent
from api.studio.jobs import job_context

SHOWN = ("status", "progress", "preview")


def watcher_of(request: HttpRequest, job_id: uuid.UUID) -> Principal | None:
    """None where there is no such job for this person."""
    principal = principal_of(request, scope=READ)
    return principal if visible_to(principal, Job.objects.filter(pk=job_id)).exists() else None


async def job_stream(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    try:
        watcher = await in_thread(watcher_of, request, id)
    except APIException as error:
        return HttpResponse(status=error.status_code)
    if watcher is None:
        return HttpResponse(status=404)
    return StreamResponse(PartStream(id, may_submit=watcher.may(SUBMIT)).for_request(request, READ))


class PartStream(JobStream):
    """`state` while it goes on, and one `done` with the pictures or the reason. The past is not replayed."""

    shows_previews = True

    def __init__(self, job_id: uuid.UUID, *, may_submit: bool = True) -> None:
        super().__init__(job_id)
        self.may_submit = may_submit
        self.language = get_language() or settings.LANGUAGE_CODE
        """Of the page that asked: the stream is read after its request has been answered."""

    def begin(self) -> Iterator[bytes]:
        self.after, self.preview = where_it_stands(self.job_id)
        yield b": Darkroom\n\n"
        yield from render_part(self.job_id, self.preview, self.language)

    def encode(self, event: JobEvent) -> Iterator[bytes]:
        if event.type in SHOWN:
            self.preview = read_preview(event, self.preview)
            yield from render_part(self.job_id, self.preview, self.language)

    def finish(self) -> Iterator[bytes]:
        yield format_part("done", render_end(self.job_id, self.language, may_submit=self.may_submit))


def where_it_stands(job_id: uuid.UUID) -> tuple[int, str]:
    """The number of the latest event, and the latest preview."""
    number = Job.objects.filter(pk=job_id).values_list("event_sequence", flat=True).first() or 0
    event = JobEvent.objects.filter(job_id=job_id, type="preview").order_by("-sequence").first()
    return number, event.data.get("preview", "") if event else ""


def read_preview(event: JobEvent, latest: str) -> str:
    """The newest preview; none once the job has gone back to the queue."""
    if event.type == "status":
        return ""
    return event.data.get("preview") or latest


def render_part(job_id: uuid.UUID, preview: str, language: str) -> Iterator[bytes]:
    """Nothing where the job has ended or is gone: `done` comes next."""
    job = Job.objects.filter(pk=job_id).first()
    if job is not None and not job.is_final:
        yield format_part("state", render("studio/job_state.html", job_context(job, preview), language))


def render_end(job_id: uuid.UUID, language: str, *, may_submit: bool) -> str:
    job: Any = Job.objects.filter(pk=job_id).first()
    context = {**job_context(job), "announce": True, "may_submit": may_submit} if job else {}
    return render("studio/job_end.html", context, language)


def render(template: str, context: dict[str, object], language: str) -> str:
    with override(language):
        return render_to_string(template, context)


def format_part(name: str, html: str) -> bytes:
    """An event's data can't hold a line break; several `data:` lines are one text."""
    data = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"event: {name}\n{data}\n".encode()
