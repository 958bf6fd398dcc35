"""A job's progress as parts of a page, pushed: an event's data is HTML for the old part's place (htmx's `sse-swap`)."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from rest_framework.exceptions import APIException

from api.access.principals import principal_of, visible_to
from api.access.scopes import READ
from api.jobs.api.waiting import follow_events, in_thread, in_thread_when_back
from api.jobs.models import Job, JobEvent
from api.studio.jobs import job_context

KEEP_ALIVE_SECONDS = 15.0
SHOWN = ("status", "progress", "preview")


def may_watch(request: HttpRequest, job_id: uuid.UUID) -> bool:
    principal = principal_of(request, scope=READ)
    return visible_to(principal, Job.objects.filter(pk=job_id)).exists()


async def job_stream(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    try:
        found = await in_thread(may_watch, request, id)
    except APIException as error:
        return HttpResponse(status=error.status_code)
    if not found:
        return HttpResponse(status=404)
    response = StreamingHttpResponse(parts(id), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response


async def parts(job_id: uuid.UUID) -> AsyncIterator[bytes]:
    """`state` while it goes on, and one `done` with the pictures or the reason. The past is not replayed."""
    yield b": Darkroom\n\n"
    after, preview = await in_thread_when_back(where_it_stands, job_id)
    if (part := await in_thread_when_back(render_part, job_id, preview)) is not None:
        yield part
    async for event in follow_events(job_id, after, KEEP_ALIVE_SECONDS):
        if event is None:
            yield b": still here\n\n"
        elif event.type in SHOWN:
            preview = read_preview(event, preview)
            if (part := await in_thread_when_back(render_part, job_id, preview)) is not None:
                yield part
    yield format_part("done", await in_thread_when_back(render_end, job_id))


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


def render_part(job_id: uuid.UUID, preview: str) -> bytes | None:
    """None where the job has ended or is gone: `done` comes next."""
    job = Job.objects.filter(pk=job_id).first()
    if job is None or job.is_final:
        return None
    return format_part("state", render_to_string("studio/job_state.html", job_context(job, preview)))


def render_end(job_id: uuid.UUID) -> str:
    job: Any = Job.objects.filter(pk=job_id).first()
    return render_to_string("studio/job_end.html", {**job_context(job), "announce": True} if job else {})


def format_part(name: str, html: str) -> bytes:
    """An event's data can't hold a line break; several `data:` lines are one text."""
    data = "".join(f"data: {line}\n" for line in html.splitlines() if line.strip())
    return f"event: {name}\n{data}\n".encode()
