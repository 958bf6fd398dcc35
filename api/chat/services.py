"""All changes of conversations: start, continue, branch, answer, rename, delete.

A client of OpenAI's API sends the whole history each time (see conversation_matching.py). It may also name a conversation
(`conversation`), and send only what is new.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.db.models.functions import Now

from api.chat.conversation_matching import digests, match_conversation
from api.chat.models import Conversation, Message
from api.chat.server_tools.visible import visible_turns
from api.chat.spec import CUT_CALL, ChatSpec, PartParams, TurnParams, images_of, text_of
from api.errors import DarkroomError
from api.files.models import StoredFile
from api.files.services import attach_inputs
from api.jobs.models import Job
from api.jobs.states import ACTIVE

MAX_SEARCH_WORDS = 10


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


def active_messages(conversation: Conversation) -> QuerySet[Message]:
    """Those of the branch that goes on."""
    return conversation.messages.filter(active=True)


def read_turns(conversation: Conversation, before: int | None = None) -> list[TurnParams]:
    """The turns that a model gets: answered questions with their first answer. `before`: a position; None for all."""
    messages = active_messages(conversation).filter(choice=0)
    if before is not None:
        messages = messages.filter(position__lt=before)
    answered = messages.exclude(backend="").values("job")
    return list(messages.filter(job__in=answered).values("role", "parts"))  # type: ignore[arg-type]


def link_messages(
    spec: ChatSpec, *, new: int, conversation: Conversation | None, length: int, replace_from: int | None = None
) -> Callable[[Job], None]:
    """What ties a new job to its conversation, within the transaction that submits it. The last `new` turns were not heard before;
    they take the place of what the conversation has from the position `replace_from` on.

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
        first = next_position(ours) if replace_from is None else replace_from
        active_messages(ours).filter(position__gte=first).update(active=False)
        add_question(ours, job, fresh, first, active_messages(ours).filter(choice=0).last())

    return link


def add_question(
    conversation: Conversation, job: Job, turns: Sequence[TurnParams], position: int, parent: Message | None
) -> None:
    """The messages of a job that is not answered yet, the first of them at `position`, behind `parent`."""
    for place, turn in enumerate(turns, position):
        parent = add_message(conversation, job, turn, position=place, parent=parent)
    Conversation.objects.filter(pk=conversation.pk).update(digest="", model_id=job.model_id, updated_at=Now())


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


def next_position(conversation: Conversation) -> int:
    last = active_messages(conversation).aggregate(last=Max("position"))["last"]
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
    conversation = question.conversation
    place = {"position": question.position + 1, "parent": question, "active": question.active}
    for number, choice in enumerate(choices):
        turn = answer_turn(choice)
        numbers = {name: choice[name] for name in ("finish_reason", "completion_tokens")}
        add_message(conversation, job, turn, choice=number, model_id=job.model_id, **place, **numbers, **fields)  # type: ignore[arg-type]
    answered = visible_turns([*turns, answer_turn(choices[0])])
    digest = {"digest": digests(answered)[-1]} if question.active else {}
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=Now(), **digest)
    return conversation


def answer_turn(choice: Mapping[str, Any]) -> TurnParams:
    calls: list[PartParams] = [{"type": "tool_call", **call} for call in choice.get("tool_calls", ())]
    text: list[PartParams] = [{"type": "text", "text": choice["text"]}] if choice["text"] or not calls else []
    cut: list[PartParams] = [{"type": CUT_CALL, **call} for call in choice.get("cut_calls", ())]
    return {"role": "assistant", "parts": [*text, *calls, *cut]}


# ---------------------------------------------------------------- branches

Branches = dict[tuple[int | None, int], list[tuple[int, uuid.UUID]]]
"""Messages that are each other's alternatives, the oldest first, with their jobs: by the message before them, and their position."""


def siblings(message: Message) -> QuerySet[Message]:
    """The beginnings of all branches at its place, itself among them, the oldest first."""
    here = Message.objects.filter(conversation=message.conversation_id, parent=message.parent_id, position=message.position)
    return here.filter(choice=0).order_by("pk")


def branches_of(conversation: Conversation) -> Branches:
    found: Branches = defaultdict(list)
    rows = Message.objects.filter(conversation=conversation, choice=0).order_by("pk")  # all, whatever was prefetched of it
    for parent, position, pk, job in rows.values_list("parent", "position", "pk", "job"):
        found[parent, position].append((pk, job))
    return found


def find_branch(conversation: Conversation, job_id: uuid.UUID) -> Message | None:
    """The first message of a job."""
    return Message.objects.filter(conversation=conversation, job=job_id, choice=0).order_by("position").first()


def activate_branch(message: Message) -> None:
    """Go on with the branch that begins with `message`, down to its newest end.

    DarkroomError 409 where that is not beside the active one.
    """
    with transaction.atomic():
        conversation = Conversation.objects.select_for_update().get(pk=message.conversation_id)
        if not siblings(message).filter(active=True).exists():
            raise DarkroomError("stale_branch", 409, "This conversation goes on elsewhere by now; load the page again.")
        active_messages(conversation).filter(position__gte=message.position).update(active=False)
        activate_from(conversation, message)


def activate_from(conversation: Conversation, message: Message) -> None:
    """Activates the way from `message` to the newest message behind it."""
    rows = conversation.messages.filter(choice=0).order_by("pk").values_list("pk", "parent", "job")
    links = {pk: (parent, job) for pk, parent, job in rows}
    behind = {message.pk}
    for pk, (parent, _) in links.items():
        if parent in behind:
            behind.add(pk)
    jobs: set[uuid.UUID] = set()
    place: int | None = max(behind)
    while place is not None and place in behind:
        place, job = links[place]
        jobs.add(job)
    conversation.messages.filter(job__in=jobs).update(active=True)
    Conversation.objects.filter(pk=conversation.pk).update(digest=digest_of(conversation))


def digest_of(conversation: Conversation) -> str:
    """'' while an answer is under way."""
    waits = Job.objects.filter(messages__conversation=conversation, messages__active=True, status__in=ACTIVE).exists()
    found = digests(visible_turns(read_turns(conversation)))
    return found[-1] if found and not waits else ""


# ---------------------------------------------------------------- rename and delete


def rename_conversation(*, conversation: Conversation, title: str) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(title=title)


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
