"""An overlay's file goes with its score, whatever deleted that: its job, retention."""

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.files.models import StoredFile
from api.scoring.models import LayoutScore


@receiver(post_delete, sender=LayoutScore)
def delete_overlay(instance: LayoutScore, **kwargs: object) -> None:
    if instance.overlay_id:
        StoredFile.objects.filter(pk=instance.overlay_id).delete()
