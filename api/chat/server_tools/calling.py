"""From the calls of one turn to child jobs, and to what the chat's job goes on from when they have ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from rest_framework.exceptions import ValidationError

from api.access.scopes import STAFF, Principal
from api.access.services import limits_of
from api.chat.server_tools.dialogue import Dialogue
from api.chat.server_tools.offer import bad_call, read_arguments
from api.chat.server_tools.turns import call_begun, keep_turn
from api.chat.spec import PartParams, TurnParams, WritingSpec
from api.errors import DarkroomError
from api.jobs.children import check_child
from api.jobs.errors import LeaseLost
from api.jobs.models import Job
from api.jobs.running import ChildJob, RunningJob, Waiting
from api.jobs.states import Status
from api.jobs.store import transitions
from api.jobs.submission_checks import Link
from api.json_types import JsonObject
from api.problems import field_errors
from api.runtime.server_tools import find_tool

Run = RunningJob[WritingSpec]
Event = tuple[str, JsonObject]
MOST_CALLS = 8
"""That one turn may make."""
TOO_MANY = f"At most {MOST_CALLS} calls are run at once."
NONE_LEFT = "No more calls are run for this answer: max_tool_calls is reached."
EVENT = "server_tool"


@dataclass(frozen=True)
class Turn:
    """What a model wrote in one turn."""

    text: str
    calls: Sequence[PartParams]
    numbers: dict[str, Any]
    """Columns of its message: tokens and seconds."""


@dataclass(frozen=True)
class ReadCall:
    """A call whose arguments were read: a job that it asks for, or why there is none."""

    call: PartParams
    child: ChildJob | None = None
    link: Link | None = None
    error: str = ""

    def as_part(self, child: Job | DarkroomError | None) -> PartParams:
        if isinstance(child, Job):
            return {**self.call, "job": str(child.pk)}
        return {**self.call, "job": "", "error": child.detail if child else self.error}


def run_calls(run: Run, dialogue: Dialogue, turn: Turn) -> Waiting | None:
    """What the job waits for. None where no call was good: the turn is kept, and the next one can be written at once.

    Raises LeaseLost, and DarkroomError where the conversation was deleted.
    """
    read = [read_call(run, call, dialogue, number) for number, call in enumerate(turn.calls)]
    children = [one.child for one in read if one.child]

    def record(rows: Sequence[Job | DarkroomError]) -> list[Event]:
        left = list(rows)
        placed = [(one, left.pop(0) if one.child else None) for one in read]
        for one, row in placed:
            if isinstance(row, Job) and one.link is not None:
                one.link(row)
        parts = [one.as_part(row) for one, row in placed]
        text: list[PartParams] = [{"type": "text", "text": turn.text}] if turn.text else []
        written: TurnParams = {"role": "assistant", "parts": [*text, *parts]}
        keep_turn(run.job, written, turn.numbers, len(dialogue.given))
        return [(EVENT, call_begun(dialogue.calls_before + place, part)) for place, part in enumerate(parts)]

    if children:
        return Waiting(run, children, record, goes_without=True)
    with transaction.atomic():
        if not transitions.lock(run.job, Status.RUNNING):
            raise LeaseLost(f"{run.job} is no longer running under this lease")
        events = record([])
    for name, data in events:
        run.emit(name, data)
    return None


def read_call(run: Run, call: PartParams, dialogue: Dialogue, number: int) -> ReadCall:
    try:
        if number >= MOST_CALLS:
            raise bad_call(TOO_MANY)
        if dialogue.calls_left is not None and number >= dialogue.calls_left:
            raise bad_call(NONE_LEFT)
        arguments, is_ours = read_arguments(call, dialogue.pictures)
        submission = find_tool(call["name"]).read(arguments, principal_of(run, sees_all=is_ours))
        link = check_child(run.job, submission.spec)
        child = ChildJob(submission.spec.kind, submission.spec.to_json(), warnings=submission.warnings)
        return ReadCall(call, child, link)
    except ValidationError as error:
        return ReadCall(call, error="; ".join(f"{one['field']}: {one['detail']}" for one in field_errors(error.detail)))
    except DarkroomError as error:
        return ReadCall(call, error=error.detail)


def principal_of(run: Run, *, sees_all: bool) -> Principal:
    """The job's owner. `sees_all`: of a picture that the conversation shows, which was looked at when it was submitted."""
    return Principal(run.owner_key, frozenset({STAFF} if sees_all else ()), limits=limits_of(run.owner_key))


def tell_results(run: Run, dialogue: Dialogue) -> None:
    """Those who watch, and whoever reads the job's warnings, of the calls that the turn before made."""
    if not dialogue.progress.turns:
        return
    results = dialogue.progress.turns[-1].results
    first = dialogue.calls_before - len(results)
    for number, result in enumerate(results, first):
        run.emit(EVENT, result.as_json(number))
        if result.is_error:
            run.warn(f"{result.call['name']} failed: {result.output['error']}")
