"""All changes of conversations: start, continue, answer, delete.

A client of OpenAI's API sends the whole history each time. So that a chat of ten turns is one conversation and not ten, each
conversation keeps a digest of its messages: a request that begins with exactly those goes on with it. A client may also name a
conversation (`conversation`), and send only what is new.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.db.models.functions import Now

from api.chat.models import Conversation, Message
from api.chat.spec import ChatSpec, PartParams, TurnParams, images_of, text_of
from api.errors import DarkroomError
from api.files.models import StoredFile
from api.files.services import attach_inputs
from api.jobs.models import Job
from api.jobs.states import ACTIVE

MAX_SEARCH_WORDS = 10


def extend_digest(digest: str, turn: TurnParams) -> str:
    """`detail`, empty texts and a call's id don't count: clients differ in how they send a message back."""
    content = [said for part in turn["parts"] if (said := said_in(part))]
    return hashlib.sha256(json.dumps([digest, turn["role"], content]).encode()).hexdigest()


def said_in(part: PartParams) -> object:
    if part["type"] == "tool_call":
        return [part["name"], part["arguments"]]
    return part.get("text") or part.get("image")


def digests(turns: Sequence[TurnParams]) -> list[str]:
    """The digest after each of the turns."""
    found, digest = [], ""
    for turn in turns:
        digest = extend_digest(digest, turn)
        found.append(digest)
    return found


def containing_words(conversations: QuerySet[Conversation], words: str) -> QuerySet[Conversation]:
    """Conversations that contain every word, each in any message."""
    for word in dict.fromkeys(words.split()[:MAX_SEARCH_WORDS]):
        content = Message.objects.filter(conversation=OuterRef("pk"), text__icontains=word)
        conversations = conversations.filter(Exists(content))
    return conversations


# ---------------------------------------------------------------- begin and continue


def find_conversation(*, owner_key: str, identifier: uuid.UUID, see_all: bool = False) -> Conversation | None:
    found = Conversation.objects.filter(pk=identifier)
    return (found if see_all else found.filter(owner_key=owner_key)).first()


def read_turns(conversation: Conversation) -> list[TurnParams]:
    """The turns that a model gets: answered questions with their first answer."""
    messages = conversation.messages.filter(choice=0)
    answered = messages.exclude(backend="").values("job")
    return list(messages.filter(job__in=answered).values("role", "parts"))  # type: ignore[arg-type]


def link_messages(spec: ChatSpec, *, new: int, conversation: Conversation | None, length: int) -> Callable[[Job], None]:
    """What ties a new job to its conversation, within the transaction that submits it. The last `new` turns were not heard before.

    DarkroomError 409 where the named conversation waits for an answer, or is no longer as long as it was when its turns were read.
    """
    turns: Sequence[TurnParams] = spec.messages

    def link(job: Job) -> None:
        attach_inputs(job, StoredFile.objects.filter(pk__in=spec.input_ids))
        ours: Conversation | None
        if conversation is not None:
            ours, fresh = lock_conversation(conversation, length), turns[-new:]
        else:
            ours, fresh = match_conversation(job.owner_key, turns)
            ours = ours or begin_conversation(job, turns, spec.metadata)
        first = next_position(ours)
        for place, turn in enumerate(fresh):
            add_message(ours, job, turn, position=first + place)
        Conversation.objects.filter(pk=ours.pk).update(digest="", model_id=job.model_id, updated_at=Now())

    return link


def lock_conversation(conversation: Conversation, length: int) -> Conversation:
    found = Conversation.objects.select_for_update().filter(pk=conversation.pk).first()
    waits = Job.objects.filter(messages__conversation=conversation, status__in=ACTIVE).exists()
    if found is None or waits or next_position(found) != length:
        raise DarkroomError(
            "conversation_busy", 409, "This conversation waits for an answer already.", headers={"Retry-After": "1"}
        )
    return found


def begin_conversation(job: Job, turns: Sequence[TurnParams], metadata: Mapping[str, str]) -> Conversation:
    question = next((text_of(turn) for turn in turns if turn["role"] == "user" and text_of(turn)), "")
    title = " ".join(question.split())
    title = title if len(title) <= 80 else f"{title[:79]}…"
    return Conversation.objects.create(owner_key=job.owner_key, title=title, model_id=job.model_id, metadata=dict(metadata))


def match_conversation(owner_key: str, turns: Sequence[TurnParams]) -> tuple[Conversation | None, Sequence[TurnParams]]:
    """The conversation whose messages are the longest prefix of `turns`, and the remaining turns."""
    known = digests(turns)
    places = {known[place]: place for place, turn in enumerate(turns[:-1]) if turn["role"] == "assistant"}
    if not places:
        return None, turns
    rows = Conversation.objects.select_for_update().filter(owner_key=owner_key, digest__in=list(places))
    best = max(rows, key=lambda row: (places[row.digest], row.id), default=None)
    return best, turns[places[best.digest] + 1 :] if best else turns


def next_position(conversation: Conversation) -> int:
    last = conversation.messages.aggregate(last=Max("position"))["last"]
    return 0 if last is None else last + 1


def add_message(conversation: Conversation, job: Job, turn: TurnParams, *, position: int, **fields: object) -> Message:
    message = Message.objects.create(
        conversation=conversation,
        job=job,
        position=position,
        role=turn["role"],
        parts=turn["parts"],
        text=text_of(turn),
        **fields,
    )
    if ids := images_of([turn]):
        message.images.set(StoredFile.objects.filter(pk__in=ids))
    return message


# ---------------------------------------------------------------- answer


def record_answer(
    job: Job, turns: Sequence[TurnParams], choices: Sequence[dict[str, Any]], **fields: object
) -> Conversation | None:
    """The answers of a job to `turns`, behind its question; None where the conversation was deleted meanwhile.

    `choices` have `text`, `finish_reason` and `completion_tokens`.
    """
    question = Message.objects.filter(job=job).select_related("conversation").last()
    if question is None:
        return None
    conversation, position = question.conversation, next_position(question.conversation)
    for number, choice in enumerate(choices):
        turn = answer_turn(choice)
        numbers = {name: choice[name] for name in ("finish_reason", "completion_tokens")}
        add_message(conversation, job, turn, position=position, choice=number, model_id=job.model_id, **numbers, **fields)
    answered = [*turns, answer_turn(choices[0])]
    Conversation.objects.filter(pk=conversation.pk).update(digest=digests(answered)[-1], updated_at=Now())
    return conversation


def answer_turn(choice: Mapping[str, Any]) -> TurnParams:
    calls: list[PartParams] = [{"type": "tool_call", **call} for call in choice.get("tool_calls", ())]
    text: list[PartParams] = [{"type": "text", "text": choice["text"]}] if choice["text"] or not calls else []
    return {"role": "assistant", "parts": [*text, *calls]}


# ---------------------------------------------------------------- delete


def delete_conversation(*, conversation: Conversation) -> None:
    """With its jobs, which hold the same words. DarkroomError 409 while one of them is active."""
    with transaction.atomic():
        jobs = Job.objects.filter(messages__conversation=conversation).distinct()
        if jobs.filter(status__in=ACTIVE).exists():
            raise DarkroomError(
                "conversation_busy", 409, "An answer is under way; cancel its job first.", headers={"Retry-After": "1"}
            )
        for job in jobs:
            job.delete()
        Conversation.objects.filter(pk=conversation.pk).delete()
