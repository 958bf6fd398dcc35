"""A chat as it is written: the job's token events as OpenAI's chunks.

The events are in the database, so a stream survives what the worker goes through: an answer that is begun anew is compared with what
was said already, and gone on with where that ends.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import StreamingHttpResponse

from api.dialects.openai import replies
from api.dialects.openai.errors import envelope
from api.jobs.api.waiting import call_and_close, in_thread_when_back
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status

INTERRUPTED = envelope(500, "interrupted", "The answer broke off; what has come is its beginning.")
CANCELLED = envelope(409, "cancelled", "The answer was cancelled.")


class Narrator:
    """Turns events into chunks, and knows what was said. `chunks` of an event; after `ended` there are no more."""

    def __init__(self, job: Job, conversation: str | None, *, include_usage: bool) -> None:
        self.job, self.include_usage = job, include_usage
        self.head = replies.head(job, "chat.completion.chunk", conversation)
        self.said: dict[int, str] = {}
        self.ended = False

    def chunks(self, event: JobEvent, result: dict[str, Any] | None) -> Iterator[bytes]:
        """`result`: of the job, for its result event."""
        if event.type == "token":
            data = event.data
            yield from self.go_on(data["index"], data["offset"], data["text"], data.get("logprobs"))
        elif event.type == "error":
            error = event.data
            yield from self.break_off(envelope(error["status"], error["code"], error["detail"]))
        elif event.type == "result":
            yield from self.end(result or {})
        elif event.type == "status" and event.data["status"] == Status.CANCELLED:
            yield from self.break_off(CANCELLED)

    def chunk(self, *choices: dict[str, Any], usage: Any = None) -> bytes:
        extra = {"usage": usage} if self.include_usage else {}
        return replies.sse({**self.head, "choices": list(choices), **extra})

    def go_on(self, index: int, offset: int, text: str, logprobs: Any) -> Iterator[bytes]:
        """What is new of a piece that begins at `offset`. Behind a gap (an event that was lost) nothing is said until the end."""
        if index not in self.said:
            self.said[index] = ""
            yield self.chunk(replies.delta(index, {"role": "assistant", "content": "", "refusal": None}))
        said = self.said[index]
        if said[offset : offset + len(text)] != text[: max(0, len(said) - offset)]:
            yield from self.break_off(INTERRUPTED)
        elif offset <= len(said) <= offset + len(text) and (len(said) < offset + len(text) or not text):
            new = text[len(said) - offset :]
            self.said[index] = said + new
            yield self.chunk(replies.delta(index, {"content": new}, logprobs=logprobs))

    def end(self, result: dict[str, Any]) -> Iterator[bytes]:
        if not result:  # deleted meanwhile
            yield from self.break_off(INTERRUPTED)
            return
        for index, choice in enumerate(result["choices"]):
            said = self.said.get(index, "")
            if not choice["text"].startswith(said):
                yield from self.break_off(INTERRUPTED)
                return
            if choice["text"] != said or index not in self.said:
                yield from self.go_on(index, len(said), choice["text"][len(said) :], None)
            yield self.chunk(replies.delta(index, {}, finish_reason=choice["finish_reason"]))
        if self.include_usage:
            yield self.chunk(usage=result["usage"])
        yield replies.DONE
        self.ended = True

    def break_off(self, error: dict[str, Any]) -> Iterator[bytes]:
        self.ended = True
        yield replies.sse(error)


class ChatStream(StreamingHttpResponse):
    """Closing it before its end cancels the job, unless that is to go on. The server closes it, whatever became of the client."""

    def __init__(
        self, narrator: Narrator, events: AsyncIterator[JobEvent | None], first: JobEvent | None, *, kept: bool
    ) -> None:
        super().__init__(narrate(narrator, events, first), content_type="text/event-stream")
        self["Cache-Control"] = "no-cache"
        self["X-Accel-Buffering"] = "no"
        self.narrator, self.kept = narrator, kept

    def close(self) -> None:
        super().close()
        if not self.narrator.ended and not self.kept:
            call_and_close(leave, self.narrator.job)


async def narrate(narrator: Narrator, events: AsyncIterator[JobEvent | None], first: JobEvent | None) -> AsyncIterator[bytes]:
    for chunk in await told(narrator, first):
        yield chunk
    async for event in events:
        for chunk in await told(narrator, event):
            yield chunk
        if narrator.ended:
            return
    if not narrator.ended:  # the job was deleted; or only its events, which go before it does
        for chunk in narrator.end(await in_thread_when_back(result_of, narrator.job) or {}):
            yield chunk


async def told(narrator: Narrator, event: JobEvent | None) -> list[bytes]:
    """A comment where nothing has come for a while."""
    if event is None:
        return [b": still here\n\n"]
    result = await in_thread_when_back(result_of, narrator.job) if event.type == "result" else None
    return list(narrator.chunks(event, result))


def result_of(job: Job) -> dict[str, Any] | None:
    return Job.objects.filter(pk=job.pk).values_list("result", flat=True).first()


def leave(job: Job) -> None:
    """The client is gone: its job stops at the next token."""
    if Job.objects.filter(pk=job.pk).exists():
        cancel_job(job=job)
