"""An answer under way, pushed: its text from where the page has it, then its turn as HTML. A browser that comes back goes on."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from rest_framework.exceptions import APIException

from api.access.principals import principal_of, visible_to
from api.access.scopes import READ, SUBMIT
from api.chat.spec import ChatSpec
from api.jobs.api.database_calls import in_thread
from api.jobs.api.streaming import JobStream, StreamResponse
from api.jobs.models import Job, JobEvent
from api.studio.chat.threads import turn_of_job, waiting_words

RETRY_MILLISECONDS = 1000


def may_change(request: HttpRequest, job_id: uuid.UUID) -> bool | None:
    """Whether this person may ask; None where the job isn't theirs to see."""
    principal = principal_of(request, scope=READ)
    found = visible_to(principal, Job.objects.filter(pk=job_id, kind=ChatSpec.kind)).exists()
    return principal.may(SUBMIT) if found else None


async def answer_stream(request: HttpRequest, id: uuid.UUID) -> HttpResponseBase:
    """`after`, or the header that browsers send when they come back: the number of the last event that the page has."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    try:
        allowed = await in_thread(may_change, request, id)
    except APIException as error:
        return HttpResponse(status=error.status_code)
    if allowed is None:
        return HttpResponse(status=404)
    number = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    after = int(number) if number.isdecimal() and len(number) < 10 else 0
    return StreamResponse(AnswerStream(id, after, may_change=allowed).for_request(request, READ))


class AnswerStream(JobStream):
    """`text` with its offset in letters (a new attempt begins at 0 again), `state` in words, and one `done` with the turn's HTML."""

    def __init__(self, job_id: uuid.UUID, after: int, *, may_change: bool) -> None:
        super().__init__(job_id, after)
        self.may_change = may_change

    def begin(self) -> Iterator[bytes]:
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()

    def encode(self, event: JobEvent) -> Iterator[bytes]:
        if event.type == "token":
            if event.data["index"] == 0:
                yield encode_event("text", {"offset": event.data["offset"], "text": event.data["text"]}, event.sequence)
        elif event.type in ("status", "progress"):
            job = Job.objects.filter(pk=self.job_id).first()
            if job is not None and not job.is_final:
                yield encode_event("state", {"words": waiting_words(job)}, event.sequence)

    def finish(self) -> Iterator[bytes]:
        yield encode_event("done", {"html": render_turn(self.job_id, may_change=self.may_change)}, self.after)


def render_turn(job_id: uuid.UUID, *, may_change: bool) -> str:
    """'' where it was deleted."""
    job = Job.objects.filter(pk=job_id).first()
    found = turn_of_job(job) if job else None
    if found is None:
        return ""
    conversation, turn = found
    return render_to_string("studio/chat/turn.html", {"turn": turn, "conversation": conversation, "may_change": may_change})


def encode_event(name: str, data: dict[str, Any], number: int) -> bytes:
    return f"event: {name}\nid: {number}\ndata: {json.dumps(data)}\n\n".encode()
