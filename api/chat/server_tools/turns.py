"""The turns of an answer that ended with calls of the server's tools: kept as messages of the chat's job, read back for the next turn.

A call's part has `job`, its child's id ('' where none was made), and then `error`. Results are read from the children, and become
messages in the transaction that keeps the next turn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.chat.models import Message
from api.chat.server_tools.visible import BETWEEN, join_texts
from api.chat.services import add_message
from api.chat.spec import PartParams, TurnParams, calls_of, text_of
from api.errors import DarkroomError
from api.jobs.models import Job
from api.jobs.states import Status
from api.json_types import JsonObject
from api.runtime.server_tools import Report, find_tool

DELETED = "Its job was deleted."
Children = Mapping[str, Job]
"""A job's, by id."""


@dataclass(frozen=True)
class CallResult:
    call: PartParams
    output: JsonObject
    """What the model is told."""
    pictures: tuple[str, ...] = ()
    is_error: bool = False

    @property
    def turn(self) -> TurnParams:
        parts: list[PartParams] = [
            {"type": "tool_result", "id": self.call["id"], "name": self.call["name"]},
            {"type": "text", "text": json.dumps(self.output, ensure_ascii=False)},
            *({"type": "image", "image": picture, "detail": "auto"} for picture in self.pictures),  # type: ignore[list-item]
        ]
        return {"role": Message.Role.TOOL, "parts": parts}

    def as_json(self, number: int) -> JsonObject:
        return {**call_begun(number, self.call), **self.ending}

    @property
    def ending(self) -> JsonObject:
        """What is known of the call once its job has ended."""
        images = [{"id": picture, "url": f"/api/images/{picture}/file/"} for picture in self.pictures]
        return {"status": "failed" if self.is_error else "succeeded", "output": self.output, "images": images}


def call_begun(number: int, call: PartParams) -> JsonObject:
    """`number`: among the server's calls of the answer."""
    return {
        "index": number,
        "id": call["id"],
        "name": call["name"],
        "arguments": call["arguments"],
        "job": call["job"] or None,
    }


@dataclass(frozen=True)
class KeptTurn:
    """One turn that has been written, with the results of its calls."""

    turn: TurnParams
    results: tuple[CallResult, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def turns(self) -> list[TurnParams]:
        return [self.turn, *(result.turn for result in self.results)]


@dataclass(frozen=True)
class Progress:
    """How far an answer is."""

    turns: tuple[KeptTurn, ...] = ()
    results: tuple[CallResult, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", tuple(result for turn in self.turns for result in turn.results))

    @property
    def text(self) -> str:
        """What was written for the client yet."""
        return join_texts(*(text_of(turn.turn) for turn in self.turns))

    @property
    def pictures(self) -> list[str]:
        return [picture for result in self.results for picture in result.pictures]

    @property
    def said(self) -> list[TurnParams]:
        return [turn for kept in self.turns for turn in kept.turns]


# ---------------------------------------------------------------- read


def read_progress(job: Job, pictures: int) -> Progress:
    """`pictures`: how many the conversation had before this answer."""
    children: Children = {str(child.pk): child for child in job.children.all()}
    found: list[KeptTurn] = []
    for message in kept_messages(job):
        results = results_of(message, children, pictures)
        pictures += sum(len(result.pictures) for result in results)
        turn: TurnParams = {"role": message.role, "parts": message.parts}
        found.append(KeptTurn(turn, tuple(results), message.prompt_tokens or 0, message.completion_tokens or 0))
    return Progress(tuple(found))


def kept_messages(job: Job) -> Sequence[Message]:
    rows = Message.objects.filter(job=job, finish_reason=BETWEEN, role=Message.Role.ASSISTANT)
    return list(rows.order_by("position"))


def results_of(message: Message, children: Children, pictures: int) -> list[CallResult]:
    results = []
    for call in calls_of({"role": message.role, "parts": message.parts}):
        result = result_of(call, children.get(call["job"]), pictures)
        pictures += len(result.pictures)
        results.append(result)
    return results


def result_of(call: PartParams, child: Job | None, pictures: int) -> CallResult:
    if error := error_of(call, child):
        return CallResult(call, {"error": error}, is_error=True)
    assert child is not None
    report: Report = find_tool(call["name"]).report(child)
    shown = [{"picture": pictures + place, "id": picture} for place, picture in enumerate(report.pictures, 1)]
    output = {
        **report.facts,
        **({"pictures": shown} if shown else {}),
        **({"warnings": child.warnings} if child.warnings else {}),
    }
    return CallResult(call, output, report.pictures)


def error_of(call: PartParams, child: Job | None) -> str:
    """'' of a call whose job succeeded."""
    if not call["job"]:
        return call["error"]
    if child is None:
        return DELETED
    if child.status == Status.SUCCEEDED:
        return ""
    return str(child.error["detail"]) if child.error else "It was cancelled."


# ---------------------------------------------------------------- keep


def keep_turn(job: Job, turn: TurnParams, numbers: Mapping[str, Any], pictures: int) -> None:
    """In the caller's transaction, behind the results of the turn before. Raises DarkroomError where the conversation was deleted."""
    keep_results(job, pictures)
    append(job, turn, **numbers)


def keep_results(job: Job, pictures: int) -> None:
    """Those of the last turn, where they are not kept yet, in the caller's transaction. `pictures`: see `read_progress`."""
    progress = read_progress(job, pictures)
    if progress.turns and last_message(job).role == Message.Role.ASSISTANT:
        for result in progress.turns[-1].results:
            append(job, result.turn)


def append(job: Job, turn: TurnParams, **numbers: Any) -> None:
    last = last_message(job)
    place = {"position": last.position + 1, "parent": last, "active": last.active}
    add_message(last.conversation, job, turn, finish_reason=BETWEEN, **place, **numbers)  # type: ignore[arg-type]


def last_message(job: Job) -> Message:
    found = Message.objects.filter(job=job).select_related("conversation").order_by("position").last()
    if found is None:
        raise DarkroomError("conversation_deleted", 409, "The conversation was deleted meanwhile.")
    return found
