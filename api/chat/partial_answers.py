"""The text of an answer that is under way or was stopped, from its job's token events."""

import uuid

from django.db import transaction
from django.db.models.functions import Now

from api.chat.models import Conversation, Message
from api.chat.server_tools.turns import keep_results, last_message, read_progress
from api.chat.server_tools.visible import GAP
from api.chat.services import add_message, answer_turn, digest_of
from api.chat.spec import images_of
from api.jobs.kinds import get_kind
from api.jobs.models import Job, JobEvent
from api.jobs.states import Status

STOPPED = "cancelled"
"""As a reason why an answer ends."""


def text_so_far(job_id: uuid.UUID) -> tuple[str, int]:
    """What the first answer says yet, and the number of the last event that was read for it. A new attempt begins at offset 0."""
    text, after = "", 0
    for event in JobEvent.objects.filter(job=job_id, type="token").order_by("sequence"):
        after = event.sequence
        if event.data["index"] == 0:
            text = text[: event.data["offset"]] + event.data["text"]
    return text, after


def keep_stopped_answer(job: Job) -> Message | None:
    """Of a job that was cancelled: what it had written becomes its answer, which the model is told in the next turn.

    None where there is no text (any more: events are kept for hours), or no question.
    """
    with transaction.atomic():
        question = Message.objects.filter(job=job).select_related("conversation").last()
        if job.status != Status.CANCELLED or question is None:
            return None
        conversation = Conversation.objects.select_for_update().get(pk=question.conversation_id)
        if known := Message.objects.filter(job=job).exclude(backend="").first():
            return known
        text, _ = text_so_far(job.pk)
        given = len(images_of(get_kind(job.kind).read_spec(job).messages)) if job.children.exists() else 0
        text = text.removeprefix(read_progress(job, given).text).removeprefix(GAP)
        if not text:
            return None
        keep_results(job, given)
        question = last_message(job)
        answer = add_message(
            conversation, job, answer_turn({"text": text}), position=question.position + 1, parent=question, active=question.active,
            model_id=job.model_id, backend=job.params["backend"], finish_reason=STOPPED,
        )  # fmt: skip
        Conversation.objects.filter(pk=conversation.pk).update(digest=digest_of(conversation), updated_at=Now())
        return answer
