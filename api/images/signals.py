"""A picture's file goes with its row, whatever deleted that: its job, the admin, retention."""

from typing import Any

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.files.models import StoredFile
from api.images.models import GeneratedImage


@receiver(post_delete, sender=GeneratedImage)
def delete_file_of_image(instance: GeneratedImage, **kwargs: Any) -> None:
    StoredFile.objects.filter(pk=instance.pk).delete()
