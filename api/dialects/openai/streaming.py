"""A chat as it is written: the job's token events as OpenAI's chunks.

An answer that a worker begins anew is compared with what was said already, and gone on with where that ends.
"""

from abc import abstractmethod
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
RESTARTING = envelope(503, "restarting", "The server is restarting; what has come is the answer's beginning. Ask again.")
CANCELLED = envelope(409, "cancelled", "The answer was cancelled.")
Lines = Iterator[bytes]


class AnswerStream(JobStream):
    """Knows what was said of each choice, and asks a subclass to write what is new."""

    def __init__(self, job: Job, after: int = 0) -> None:
        super().__init__(job.pk, after)
        self.said: dict[int, str] = {}
        self.called: dict[tuple[int, int], str] = {}
        """Arguments, by choice and number."""
        self.shown: dict[int, set[str]] = {}
        """What was told of the server's own calls, by number."""

    @abstractmethod
    def open_choice(self, index: int, *, calls: bool) -> Lines:
        """Choice `index` begins: with text, or with calls."""

    @abstractmethod
    def write_text(self, index: int, text: str, logprobs: Any) -> Lines: ...

    @abstractmethod
    def open_call(self, index: int, number: int, call: Mapping[str, Any]) -> Lines:
        """`call` has id and name."""

    @abstractmethod
    def write_arguments(self, index: int, number: int, text: str) -> Lines: ...

    def write_server_call(self, number: int, fields: Mapping[str, Any]) -> Lines:
        """`fields`: what is new of a call that the server ran itself. Nothing, where the form has no event for it."""
        yield from ()

    @abstractmethod
    def close_choice(self, index: int, choice: Mapping[str, Any]) -> Lines:
        """`choice`: of the job's result."""

    @abstractmethod
    def close(self, job: Job) -> Lines:
        """All of a job that succeeded was written."""

    @abstractmethod
    def fail(self, error: dict[str, Any]) -> Lines:
        """`error`: of the job."""

    @abstractmethod
    def break_off(self, error: dict[str, Any]) -> Lines:
        """`error`: in OpenAI's envelope. Nothing follows."""

    def encode(self, event: JobEvent) -> Lines:
        if event.type == "token":
            data = event.data
            yield from self.go_on(data["index"], data["offset"], data["text"], data.get("logprobs"))
        elif event.type == "tool_call":
            yield from self.go_on_calling(event.data["index"], event.data["number"], event.data["offset"], event.data)
        elif event.type == "server_tool":
            yield from self.show_call(event.data)
        elif event.type == "error":
            yield from self.fail(event.data)
        elif event.type == "result":
            yield from self.finish()
        elif event.type == "status" and event.data["status"] == Status.CANCELLED:
            yield from self.break_off(CANCELLED)

    def go_on(self, index: int, offset: int, text: str, logprobs: object) -> Lines:
        """What is new of a piece that begins at `offset`. Behind a gap (an event that was lost) nothing is said until the end."""
        yield from self.begin_choice(index, calls=False)
        said = self.said[index]
        if said[offset : offset + len(text)] != text[: max(0, len(said) - offset)]:
            yield from self.break_off(INTERRUPTED)
        elif offset <= len(said) <= offset + len(text) and (len(said) < offset + len(text) or not text):
            new = text[len(said) - offset :]
            self.said[index] = said + new
            yield from self.write_text(index, new, logprobs)

    def begin_choice(self, index: int, *, calls: bool) -> Lines:
        if index not in self.said:
            self.said[index] = ""
            yield from self.open_choice(index, calls=calls)

    def go_on_calling(self, index: int, number: int, offset: int, call: Mapping[str, Any]) -> Lines:
        """What is new of a call's arguments, of which those in `call` begin at `offset`."""
        yield from self.begin_choice(index, calls=True)
        if (index, number) not in self.called:
            self.called[index, number] = ""
            yield from self.open_call(index, number, call)
        said, text = self.called[index, number], call["arguments"]
        if said[offset : offset + len(text)] != text[: max(0, len(said) - offset)]:
            yield from self.break_off(INTERRUPTED)
        elif offset <= len(said) < offset + len(text):
            more = text[len(said) - offset :]
            self.called[index, number] = said + more
            yield from self.write_arguments(index, number, more)

    def show_call(self, call: Mapping[str, Any]) -> Lines:
        """What is new of a call of the server's own. Each field is told once: SDKs put the texts of one field together."""
        known = self.shown.setdefault(call["index"], set())
        new = {name: value for name, value in call.items() if name not in known}
        known.update(new)
        if new:
            yield from self.write_server_call(call["index"], new)

    def finish(self) -> Lines:
        """What the result has beyond what was said. Also where the job's events, which go before it does, are gone."""
        job = Job.objects.filter(pk=self.job_id).first()
        if job is None or not job.result:
            yield from self.finish_without_result(job)
            return
        for index, choice in enumerate(job.result["choices"]):
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
            if self.ended:  # the calls differ from those that were told
                return
            yield from self.close_choice(index, choice)
        yield from self.close(job)
        self.ended = True

    def interrupt(self) -> Lines:
        yield from self.break_off(RESTARTING)

    def finish_without_result(self, job: Job | None) -> Lines:
        """None: it was deleted meanwhile."""
        if job is not None and job.error:
            yield from self.fail(job.error)
        else:
            yield from self.break_off(CANCELLED if job and job.status == Status.CANCELLED else INTERRUPTED)


class ChunkStream(AnswerStream):
    """As chunks of a chat completion."""

    def __init__(self, job: Job, conversation: str | None, *, include_usage: bool, request: object = None) -> None:
        """`request`: for whose host addresses are made absolute."""
        super().__init__(job)
        self.include_usage, self.request = include_usage, request
        self.head = replies.head(job, "chat.completion.chunk", conversation)

    delta = staticmethod(replies.delta)

    def chunk(self, *choices: JsonObject, usage: Any = None) -> bytes:
        extra = {"usage": usage} if self.include_usage else {}
        return replies.sse({**self.head, "choices": list(choices), **extra})

    def open_choice(self, index: int, *, calls: bool) -> Lines:
        content = None if calls else ""
        yield self.chunk(self.delta(index, {"role": "assistant", "content": content, "refusal": None}))

    def write_text(self, index: int, text: str, logprobs: Any) -> Lines:
        yield self.chunk(self.delta(index, {"content": text}, logprobs=logprobs))

    def open_call(self, index: int, number: int, call: Mapping[str, Any]) -> Lines:
        head = {"index": number, "id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": ""}}
        yield self.chunk(self.delta(index, {"tool_calls": [head]}))

    def write_arguments(self, index: int, number: int, text: str) -> Lines:
        yield self.chunk(self.delta(index, {"tool_calls": [{"index": number, "function": {"arguments": text}}]}))

    def write_server_call(self, number: int, fields: Mapping[str, Any]) -> Lines:
        yield from self.begin_choice(0, calls=True)
        yield self.chunk(self.delta(0, {"server_tool_calls": [{"index": number, **absolute_urls(fields, self.request)}]}))

    def close_choice(self, index: int, choice: Mapping[str, Any]) -> Lines:
        yield self.chunk(self.delta(index, {}, finish_reason=choice["finish_reason"]))

    def close(self, job: Job) -> Lines:
        if self.include_usage:
            yield self.chunk(usage=(job.result or {})["usage"])
        yield replies.DONE

    def fail(self, error: dict[str, Any]) -> Lines:
        yield from self.break_off(envelope(error["status"], error["code"], error["detail"]))

    def break_off(self, error: dict[str, Any]) -> Lines:
        self.ended = True
        yield replies.sse(error)
