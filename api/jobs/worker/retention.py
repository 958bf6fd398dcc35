"""How long events, jobs and the rows of ended workers are kept."""

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from api.jobs.models import Job, JobEvent, Worker
from api.jobs.states import FINAL
from api.jobs.store.outbox import delete_read_endings
from api.jobs.store.preview_watches import delete_ended_watches

CHUNK = 500


def clean_history() -> None:
    """Events and the outbox past their retention, jobs past theirs (never active ones), workers long gone. In chunks: no long lock."""
    old_events = JobEvent.objects.filter(created_at__lt=Now() - timedelta(hours=settings.EVENT_RETENTION_HOURS))
    old_events = old_events.filter(job__status__in=FINAL)
    while ids := list(old_events.order_by("created_at").values_list("pk", flat=True)[:CHUNK]):
        JobEvent.objects.filter(pk__in=ids).delete()
    delete_read_endings()
    delete_ended_watches()
    if settings.JOB_RETENTION_DAYS:
        past = Now() - timedelta(days=settings.JOB_RETENTION_DAYS)
        old = Job.objects.filter(status__in=FINAL, created_at__lt=past, parent=None)  # children go with their parents
        while jobs := list(old.order_by("created_at")[:CHUNK]):
            for job in jobs:
                job.delete()
    Worker.objects.filter(state=Worker.State.STOPPED, heartbeat_at__lt=Now() - timedelta(days=7)).delete()
