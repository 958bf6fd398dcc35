"""Files follow their rows: removed when, and only when, the deletion of the row is committed."""

import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from api.files.models import GRACE, JobInput, StoredFile
from api.files.services import delete_unused_uploads
from api.files.storage import remove_file
from api.jobs.worker.retention import LeavingJobs, rows_leaving


@receiver(post_delete, sender=StoredFile)
def remove_files(instance: StoredFile, using: str, **kwargs: object) -> None:
    remove_when_committed([instance.name, instance.thumbnail_name], using)


def remove_when_committed(names: Iterable[str | None], using: str | None = None) -> None:
    for name in names:
        transaction.on_commit(partial(remove_file, name or ""), using=using, robust=True)


@receiver(post_delete, sender=JobInput)
def delete_upload_of_last_job(instance: JobInput, **kwargs: object) -> None:
    files = StoredFile.objects.filter(pk=instance.file_id)
    delete_unused_uploads(files, unused_since=timezone.now() - GRACE)


@receiver(rows_leaving)
def remove_files_of_jobs(leaving: LeavingJobs, keys: Mapping[type, set[Any]], **kwargs: object) -> None:
    """The same for what retention deletes, of which no post_delete is sent."""
    pairs = StoredFile.objects.filter(pk__in=keys.get(StoredFile, ())).order_by().values_list("name", "thumbnail_name")
    leaving.then.append(partial(remove_when_committed, [name for pair in pairs for name in pair if name]))
    inputs = JobInput.objects.filter(job__in=leaving.going, file__purpose=StoredFile.Purpose.UPLOAD)
    if uploads := set(inputs.values_list("file", flat=True)):
        leaving.then.append(lambda: transaction.on_commit(partial(delete_unused, uploads), robust=True))


def delete_unused(uploads: Iterable[uuid.UUID]) -> None:
    files = StoredFile.objects.filter(pk__in=uploads)
    while delete_unused_uploads(files, unused_since=timezone.now() - GRACE):
        pass
