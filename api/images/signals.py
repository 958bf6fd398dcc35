"""A picture's file goes with its row, whatever deleted that: its job, the admin, retention. And its stars follow what raters say."""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from api.files.models import JobInput, StoredFile
from api.images.models import GeneratedImage
from api.jobs.states import ACTIVE
from api.jobs.worker.retention import LeavingJobs, jobs_leaving


@receiver(post_delete, sender=GeneratedImage)
def delete_file_of_image(instance: GeneratedImage, **kwargs: object) -> None:
    StoredFile.objects.filter(pk=instance.pk).delete()


@receiver(jobs_leaving)
def delete_files_of_jobs(leaving: LeavingJobs, **kwargs: object) -> None:
    """Jobs whose pictures others under way start from stay."""
    needed = JobInput.objects.filter(file__generated__job__in=leaving.ids, job__status__in=ACTIVE)
    leaving.staying |= set(needed.values_list("file__generated__job", flat=True))
    leaving.take(StoredFile, GeneratedImage.objects.filter(job__in=leaving.going).values_list("pk", flat=True))


@receiver(post_save, sender="scoring.Rating")
@receiver(post_delete, sender="scoring.Rating")
def show_newest_rating(instance: Any, **kwargs: Any) -> None:
    """`rating` is the newest stars of anybody who may rate the picture, so that lists can be filtered and sorted by it.

    (Retention sends no post_delete: stars go there with their picture, or are a layout's.)
    """
    if instance.file_id:
        newest = (
            type(instance).objects.filter(file=instance.file_id).order_by("-rated_at", "-pk").values_list("stars", flat=True)
        )
        GeneratedImage.objects.filter(pk=instance.file_id).update(rating=newest.first())
