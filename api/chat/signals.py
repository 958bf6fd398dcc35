"""Deletes a conversation when its last message is deleted, with a job or by retention; goes on with another branch before that."""

import uuid
from functools import partial

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.chat.models import Conversation, Message
from api.chat.services import activate_from
from api.jobs.worker.retention import LeavingJobs, jobs_leaving


@receiver(post_delete, sender=Message)
def delete_empty_conversation(instance: Message, **kwargs: object) -> None:
    go_on_without(instance.conversation_id)


def go_on_without(conversation_id: uuid.UUID) -> None:
    """A message of it has been deleted."""
    left = Message.objects.filter(conversation=conversation_id)
    if left.filter(active=True).exists():
        return
    other = left.filter(choice=0).order_by("position", "-pk").select_related("conversation").first()
    if other is not None:
        activate_from(other.conversation, other)
    else:
        Conversation.objects.filter(pk=conversation_id).delete()


@receiver(jobs_leaving)
def delete_conversations_of_jobs(leaving: LeavingJobs, **kwargs: object) -> None:
    """Those that have messages of no other job; the others go on."""
    theirs = set(Message.objects.filter(job__in=leaving.going).values_list("conversation", flat=True))
    others = (
        Message.objects.filter(conversation__in=theirs).exclude(job__in=leaving.going).values_list("conversation", flat=True)
    )
    leaving.take(Conversation, theirs - set(others))
    leaving.then.extend(partial(go_on_without, conversation) for conversation in theirs & set(others))
