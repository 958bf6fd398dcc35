"""One conversation as its page shows it: a turn for each job, with what was asked, what was answered, and its other branches."""

import uuid
from dataclasses import dataclass, field
from itertools import groupby

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.chat.models import Conversation, Message
from api.chat.partial_answers import STOPPED, keep_stopped_answer, text_so_far
from api.chat.server_tools.visible import BETWEEN
from api.chat.services import Branches, active_messages, branches_of
from api.jobs.admin.tools import seconds_text
from api.jobs.api.selectors import queue_position
from api.jobs.models import Job
from api.jobs.states import Status
from api.studio.chat.markdown import render_markdown

MOST_TURNS = 60
"""Those before are shown when they are asked for."""


@dataclass(frozen=True)
class Entry:
    """One message, and what its answer took."""

    message: Message
    facts: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[str]:
        return [part["image"] for part in self.message.parts if part["type"] == "image"]

    @property
    def html(self) -> SafeString:
        return render_markdown(self.message.text)

    @property
    def is_stopped(self) -> bool:
        return self.message.finish_reason == STOPPED

    @property
    def is_cut(self) -> bool:
        return self.message.finish_reason == "length"


@dataclass(frozen=True)
class Turn:
    job: Job
    entries: list[Entry]
    branches: list[int]
    """The first messages of all branches that begin here, the oldest first."""
    partial: str = ""
    after: int = 0
    """The number of the last event that `partial` has."""

    @property
    def place(self) -> int:
        """Among its branches, from 1."""
        first = self.entries[0].message.pk
        return self.branches.index(first) + 1 if first in self.branches else 1

    @property
    def before(self) -> int | None:
        return self.branches[self.place - 2] if self.place > 1 else None

    @property
    def behind(self) -> int | None:
        return self.branches[self.place] if self.place < len(self.branches) else None

    @property
    def question(self) -> Message | None:
        """What can be asked anew."""
        return next((entry.message for entry in reversed(self.entries) if entry.message.role == Message.Role.USER), None)

    @property
    def last_answer(self) -> Entry | None:
        """Where the turn ends with one."""
        last = self.entries[-1]
        return last if last.message.role == Message.Role.ASSISTANT else None

    @property
    def is_answered(self) -> bool:
        return any(entry.message.backend for entry in self.entries)

    @property
    def active(self) -> bool:
        return not self.job.is_final

    @property
    def is_stopping(self) -> bool:
        return self.active and self.job.cancel_requested_at is not None

    @property
    def state(self) -> str:
        return waiting_words(self.job)


@dataclass(frozen=True)
class Thread:
    conversation: Conversation
    turns: list[Turn]
    is_whole: bool

    @property
    def active(self) -> bool:
        return any(turn.active for turn in self.turns)


def read_thread(conversation: Conversation, *, whole: bool = False) -> Thread:
    rows = (
        active_messages(conversation).select_related("job").defer("job__params", "job__result")
    )  # each has all that was said before
    messages = list(rows.order_by("position", "choice"))
    groups = [list(group) for _, group in groupby(messages, key=lambda message: message.job_id)]
    branches = branches_of(conversation)
    shown = groups if whole else groups[-MOST_TURNS:]
    return Thread(conversation, [read_turn(group, branches) for group in shown], len(shown) == len(groups))


def read_turn(messages: list[Message], branches: Branches) -> Turn:
    first, job = messages[0], messages[0].job
    if job.status == Status.CANCELLED and not any(message.backend for message in messages):
        stopped = keep_stopped_answer(job)
        messages = [*messages, stopped] if stopped else messages
    partial, after = ("", 0) if job.is_final else text_so_far(job.pk)
    if not job.is_final:  # `partial` has what was said between calls
        messages = [message for message in messages if message.finish_reason != BETWEEN]
    entries = [Entry(message, facts_of(message)) for message in messages]
    return Turn(job, entries, [pk for pk, _ in branches[first.parent_id, first.position]], partial, after)


def turn_of_job(job: Job) -> tuple[Conversation, Turn] | None:
    """None where its conversation was deleted."""
    messages = list(Message.objects.filter(job=job).select_related("job", "conversation").order_by("position", "choice"))
    if not messages:
        return None
    conversation = messages[0].conversation
    return conversation, read_turn(messages, branches_of(conversation))


def facts_of(message: Message) -> list[str]:
    """What an answer took, in words; nothing of a question."""
    if not message.backend:
        return []
    facts = [f"{message.model_id} · {message.backend}"]
    if message.completion_tokens is not None and message.prompt_tokens is not None:
        counts = {"read": f"{message.prompt_tokens:,}", "written": f"{message.completion_tokens:,}"}
        facts.append(_("%(read)s tokens read, %(written)s written") % counts)
    if speed := speed_of(message):
        facts.append(_("%(speed)s tokens/s") % {"speed": speed})
    return facts if message.seconds is None else [*facts, seconds_text(message.seconds)]


def speed_of(message: Message) -> str:
    """Of writing, which begins with the first token. '' where too little was written to tell."""
    if message.seconds is None or message.first_token_seconds is None or (message.completion_tokens or 0) < 2:
        return ""
    spent = message.seconds - message.first_token_seconds
    return f"{((message.completion_tokens or 0) - 1) / spent:,.1f}" if spent > 0 else ""


def waiting_words(job: Job) -> str:
    """Where an answer stands that has no text yet."""
    if job.is_waiting:
        return _("A tool is at work…")
    if job.status == Status.RUNNING:
        stage = job.progress.get("stage")
        return str(stage) if stage and job.progress.get("fraction", 0) < 1 else _("Reading…")
    position = queue_position(job)
    return _("%(position)s before it in the queue") % {"position": position} if position else _("Next in the queue")


def find_turn(conversation: Conversation, job_id: uuid.UUID) -> list[Message]:
    """What was asked with a job on the branch that goes on, without its answers."""
    return list(active_messages(conversation).filter(job=job_id, backend="", finish_reason="").order_by("position", "choice"))
