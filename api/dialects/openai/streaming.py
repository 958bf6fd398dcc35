"""A chat as it is written: the job's token events as OpenAI's chunks.

An answer that a worker begins anew is compared with what was said already, and gone on with where that ends.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from api.dialects.openai import replies
from api.dialects.openai.errors import envelope
from api.jobs.api.serializers import absolute_urls
from api.jobs.api.streaming import JobStream
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status
from api.json_types import JsonObject

INTERRUPTED = envelope(500, "interrupted", "The answer broke off; what has come is its beginning.")
CANCELLED = envelope(409, "cancelled", "The answer was cancelled.")


class ChunkStream(JobStream):
    """Turns events into chunks, and knows what was said."""

    def __init__(self, job: Job, conversation: str | None, *, include_usage: bool, request: object = None) -> None:
        """`request`: for whose host addresses are made absolute."""
        super().__init__(job.pk)
        self.request = request
        self.include_usage = include_usage
        self.head = replies.head(job, "chat.completion.chunk", conversation)
        self.said: dict[int, str] = {}
        self.called: dict[tuple[int, int], str] = {}
        """Arguments, by choice and number."""
        self.shown: dict[int, set[str]] = {}
        """What was told of the server's own calls, by number."""

    delta = staticmethod(replies.delta)

    def encode(self, event: JobEvent) -> Iterator[bytes]:
        if event.type == "token":
            data = event.data
            yield from self.go_on(data["index"], data["offset"], data["text"], data.get("logprobs"))
        elif event.type == "tool_call":
            yield from self.go_on_calling(event.data["index"], event.data["number"], event.data["offset"], event.data)
        elif event.type == "server_tool":
            yield from self.show_call(event.data)
        elif event.type == "error":
            error = event.data
            yield from self.break_off(envelope(error["status"], error["code"], error["detail"]))
        elif event.type == "result":
            yield from self.finish()
        elif event.type == "status" and event.data["status"] == Status.CANCELLED:
            yield from self.break_off(CANCELLED)

    def chunk(self, *choices: JsonObject, usage: Any = None) -> bytes:
        extra = {"usage": usage} if self.include_usage else {}
        return replies.sse({**self.head, "choices": list(choices), **extra})

    def go_on(self, index: int, offset: int, text: str, logprobs: object) -> Iterator[bytes]:
        """What is new of a piece that begins at `offset`. Behind a gap (an event that was lost) nothing is said until the end."""
        yield from self.open_choice(index, "")
        said = self.said[index]
        if said[offset : offset + len(text)] != text[: max(0, len(said) - offset)]:
            yield from self.break_off(INTERRUPTED)
        elif offset <= len(said) <= offset + len(text) and (len(said) < offset + len(text) or not text):
            new = text[len(said) - offset :]
            self.said[index] = said + new
            yield self.chunk(self.delta(index, {"content": new}, logprobs=logprobs))

    def open_choice(self, index: int, content: str | None) -> Iterator[bytes]:
        if index not in self.said:
            self.said[index] = ""
            yield self.chunk(self.delta(index, {"role": "assistant", "content": content, "refusal": None}))

    def go_on_calling(self, index: int, number: int, offset: int, call: Mapping[str, Any]) -> Iterator[bytes]:
        """What is new of a call's arguments, of which those in `call` begin at `offset`."""
        yield from self.open_choice(index, None)
        if (index, number) not in self.called:
            self.called[index, number] = ""
            head = {"index": number, "id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": ""}}
            yield self.chunk(self.delta(index, {"tool_calls": [head]}))
        said, text = self.called[index, number], call["arguments"]
        if said[offset : offset + len(text)] != text[: max(0, len(said) - offset)]:
            yield from self.break_off(INTERRUPTED)
        elif offset <= len(said) < offset + len(text):
            more = text[len(said) - offset :]
            self.called[index, number] = said + more
            yield self.chunk(self.delta(index, {"tool_calls": [{"index": number, "function": {"arguments": more}}]}))

    def show_call(self, call: Mapping[str, Any]) -> Iterator[bytes]:
        """What is new of a call of the server's own. Each field is told once: SDKs put the texts of one field together."""
        yield from self.open_choice(0, None)
        known = self.shown.setdefault(call["index"], set())
        new = {name: value for name, value in call.items() if name not in known}
        known.update(new)
        if new:
            shown = {"index": call["index"], **absolute_urls(new, self.request)}
            yield self.chunk(replies.delta(0, {"server_tool_calls": [shown]}))

    def finish(self) -> Iterator[bytes]:
        """What the result has beyond what was said. Also where the job's events, which go before it does, are gone."""
        result = Job.objects.filter(pk=self.job_id).values_list("result", flat=True).first()
        if not result:  # deleted meanwhile
            yield from self.break_off(INTERRUPTED)
            return
        for index, choice in enumerate(result["choices"]):
            said = self.said.get(index, "")
            if not choice["text"].startswith(said):
                yield from self.break_off(INTERRUPTED)
                return
            for call in choice.get("server_tool_calls", ()):
                yield from self.show_call(call)
            calls = choice.get("tool_calls", ())
            if choice["text"] != said or (index not in self.said and not calls):
                yield from self.go_on(index, len(said), choice["text"][len(said) :], None)
            for number, call in enumerate(calls):
                yield from self.go_on_calling(index, number, 0, call)
            yield self.chunk(self.delta(index, {}, finish_reason=choice["finish_reason"]))
        if self.include_usage:
            yield self.chunk(usage=result["usage"])
        yield replies.DONE
        self.ended = True

    def break_off(self, error: JsonObject) -> Iterator[bytes]:
        self.ended = True
        yield replies.sse(error)
