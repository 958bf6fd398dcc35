"""Files follow their rows: removed when, and only when, the deletion of the row is committed."""

from functools import partial

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from api.files.models import GRACE, JobInput, StoredFile
from api.files.services import delete_unused_uploads
from api.files.storage import remove_file


@receiver(post_delete, sender=StoredFile)
def remove_files(instance: StoredFile, using: str, **kwargs: object) -> None:
    for name in (instance.name, instance.thumbnail_name):
        transaction.on_commit(partial(remove_file, name or ""), using=using, robust=True)


@receiver(post_delete, sender=JobInput)
def delete_upload_of_last_job(instance: JobInput, **kwargs: object) -> None:
    files = StoredFile.objects.filter(pk=instance.file_id)
    delete_unused_uploads(files, unused_since=timezone.now() - GRACE)
