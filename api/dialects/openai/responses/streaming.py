"""A response as it is written: the job's events as OpenAI's, numbered.

The numbers follow from the job's events alone, so that a stream that is read again has the same.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from api.dialects.models import StoredResponse
from api.dialects.openai.responses.items import call_item, text_part
from api.dialects.openai.responses.lookup import output_id
from api.dialects.openai.responses.replies import COMPLETED, IN_PROGRESS, INCOMPLETE, REASONS, begun, message_item, render
from api.dialects.openai.streaming import AnswerStream, Lines
from api.jobs.models import Job, JobEvent

WRITTEN = ("token", "tool_call")
"""Events of a job."""


class ResponseStream(AnswerStream):
    """`starting_after`: the number of the last event that its client has. `at_once`: it begins before there is an answer."""

    def __init__(self, row: StoredResponse, *, starting_after: int = -1, at_once: bool = False) -> None:
        super().__init__(row.job)
        self.row, self.starting_after, self.at_once = row, starting_after, at_once
        self.number = 0
        self.opened = False
        self.items: list[dict[str, Any]] = []
        self.is_open = False
        """Whether the last of the items is being written."""
        self.late_text, self.late_logprobs = "", list[Any]()
        self.ends = False
        """Whether all of the answer has come."""

    def begin(self) -> Iterable[bytes]:
        """Until there is something to tell, a failure can still be told by its status."""
        return list(self.open()) if self.at_once else ()

    def event(self, kind: str, **data: object) -> Lines:
        number, self.number = self.number, self.number + 1
        if number > self.starting_after:
            yield sse(kind, {"type": kind, "sequence_number": number, **data})

    def last_event(self, kind: str, **data: object) -> Lines:
        """Told to everybody: where a job's events are gone, there are fewer of ours, too."""
        self.number = max(self.number, self.starting_after + 1)
        self.ended = True
        yield from self.event(kind, **data)

    def open(self) -> Lines:
        if self.opened:
            return
        self.opened = True
        is_queued = bool(self.row.asked.get("background"))
        response = begun(self.row, "queued" if is_queued else IN_PROGRESS)
        yield from self.event("response.created", response=response)
        if is_queued:
            yield from self.event("response.queued", response=response)
        yield from self.event("response.in_progress", response={**response, "status": IN_PROGRESS})

    # ---------------------------------------------------------------- the answer

    @property
    def place(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def open_choice(self, index: int, *, calls: bool) -> Lines:
        yield from self.open()

    def write_text(self, index: int, text: str, logprobs: Any) -> Lines:
        """Text behind a call is another message, once all calls are written: their arguments may come later than it."""
        if self.called and not self.ends:
            self.late_text, self.late_logprobs = self.late_text + text, [*self.late_logprobs, *(logprobs or ())]
            return
        if not self.is_open or self.items[-1]["type"] != "message":
            yield from self.open_item(message_item(self.row.job, len(self.items), [], IN_PROGRESS))
            yield from self.event("response.content_part.added", **self.place, content_index=0, part=text_part(""))
            self.items[-1]["content"] = [text_part("")]
        part = self.items[-1]["content"][0]
        part["text"] += text
        part["logprobs"] += logprobs or ()
        if text:
            delta = {"content_index": 0, "delta": text, "logprobs": logprobs or []}
            yield from self.event("response.output_text.delta", **self.place, **delta)

    def open_call(self, index: int, number: int, call: Mapping[str, Any]) -> Lines:
        item = call_item({**call, "arguments": ""}, IN_PROGRESS)
        yield from self.open_item({"id": output_id(self.row.job, "fc", len(self.items)), **item})

    def write_arguments(self, index: int, number: int, text: str) -> Lines:
        self.items[-1]["arguments"] += text
        yield from self.event("response.function_call_arguments.delta", **self.place, delta=text)

    def open_item(self, item: dict[str, Any]) -> Lines:
        yield from self.close_item(COMPLETED)
        self.items.append(item)
        self.is_open = True
        yield from self.event("response.output_item.added", output_index=len(self.items) - 1, item=item)

    def close_item(self, status: str) -> Lines:
        if not self.is_open:
            return
        self.is_open, item = False, self.items[-1]
        item["status"] = status
        if item["type"] == "message":
            [part] = item["content"]
            content = {"content_index": 0, "text": part["text"], "logprobs": part["logprobs"]}
            yield from self.event("response.output_text.done", **self.place, **content)
            yield from self.event("response.content_part.done", **self.place, content_index=0, part=part)
        else:
            content = {"name": item["name"], "arguments": item["arguments"]}
            yield from self.event("response.function_call_arguments.done", **self.place, **content)
        yield from self.event("response.output_item.done", output_index=len(self.items) - 1, item=item)

    # ---------------------------------------------------------------- its end

    def close_choice(self, index: int, choice: Mapping[str, Any]) -> Lines:
        self.ends = True
        if self.late_text.strip():
            yield from self.write_text(index, self.late_text, self.late_logprobs)
        yield from self.close_item(INCOMPLETE if choice["finish_reason"] in REASONS else COMPLETED)

    def close(self, job: Job) -> Lines:
        self.row.job = job
        response = render(self.row, self.items)
        yield from self.last_event(f"response.{response['status']}", response=response)

    def fail(self, error: dict[str, Any]) -> Lines:
        yield from self.open()
        yield from self.close_item(INCOMPLETE)
        self.row.job.status, self.row.job.error = "failed", error
        yield from self.last_event("response.failed", response=render(self.row, self.items))

    def break_off(self, error: dict[str, Any]) -> Lines:
        yield from self.open()
        said = error["error"]
        yield from self.last_event("error", **{name: said[name] for name in ("code", "message", "param")})


def written_so_far(row: StoredResponse) -> list[dict[str, Any]]:
    """The items of an answer that is being written, as its stream has told them."""
    stream = ResponseStream(row)
    for event in JobEvent.objects.filter(job=row.job_id, type__in=WRITTEN).order_by("sequence"):
        for _ in stream.encode(event):
            pass
    return stream.items


def sse(event: str, data: Mapping[str, object]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
