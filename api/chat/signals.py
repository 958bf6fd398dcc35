"""Deletes a conversation when its last message is deleted, with a job or by retention; goes on with another branch before that."""

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.chat.models import Conversation, Message
from api.chat.services import activate_from


@receiver(post_delete, sender=Message)
def delete_empty_conversation(instance: Message, **kwargs: object) -> None:
    left = Message.objects.filter(conversation=instance.conversation_id)
    if left.filter(active=True).exists():
        return
    other = left.filter(choice=0).order_by("position", "-pk").select_related("conversation").first()
    if other is not None:
        activate_from(other.conversation, other)
    else:
        Conversation.objects.filter(pk=instance.conversation_id).delete()
