"""An overlay's file goes with its score, whatever deleted that: its job, retention."""

from django.db.models.signals import post_delete
from django.dispatch import receiver

from api.files.models import StoredFile
from api.jobs.worker.retention import LeavingJobs, jobs_leaving
from api.scoring.models import LayoutScore


@receiver(post_delete, sender=LayoutScore)
def delete_overlay(instance: LayoutScore, **kwargs: object) -> None:
    if instance.overlay_id:
        StoredFile.objects.filter(pk=instance.overlay_id).delete()


@receiver(jobs_leaving)
def delete_overlays_of_jobs(leaving: LeavingJobs, **kwargs: object) -> None:
    overlays = LayoutScore.objects.filter(job__in=leaving.going, overlay__isnull=False)
    leaving.take(StoredFile, overlays.values_list("overlay", flat=True))
