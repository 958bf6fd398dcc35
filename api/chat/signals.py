"""Deletes a conversation when its last message is deleted, with a job or by retention."""

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.chat.models import Conversation, Message


@receiver(post_delete, sender=Message)
def delete_empty_conversation(instance: Message, **kwargs: object) -> None:
    Conversation.objects.filter(pk=instance.conversation_id, messages__isnull=True).delete()
