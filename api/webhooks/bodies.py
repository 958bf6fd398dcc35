"""What a receiver is sent: the job as the API shows it."""

import logging
from urllib.parse import urljoin

from django.conf import settings
from rest_framework.renderers import JSONRenderer

from api.jobs.api.serializers import JobSerializer, to_time
from api.jobs.models import Job, JobEnding
from api.jobs.webhooks import Webhook

log = logging.getLogger("darkroom.webhooks")


class Origin(str):
    """What a serializer asks of a request: the address that links begin with."""

    def build_absolute_uri(self, path: str) -> str:
        return urljoin(f"{self}/", path)


def body_of(job: Job, origin: str) -> str:
    """`origin`: the address by which its request reached this server, which need not be one that the receiver can reach."""
    origin = settings.PUBLIC_URL or origin
    context = {"request": Origin(origin) if origin else None}
    return as_text(JobSerializer(job, context=context).data)


def body_of_ending(ending: JobEnding) -> str:
    """What is left of a job that was deleted, or that can't be shown, is sent all the same."""
    try:
        if (job := Job.objects.filter(pk=ending.job_id).first()) is not None:
            return body_of(job, Webhook.from_json(ending.webhook).origin)
    except Exception:  # whatever is wrong with one job: the others' events are behind it
        log.exception("Job %s can't be shown to its webhook", ending.job_id)
    return as_text(
        {
            "id": str(ending.job_id),
            "kind": ending.kind,
            "status": ending.status,
            "model_id": ending.model_id,
            "finished_at": to_time(ending.created_at),
        }
    )


def as_text(data: object) -> str:
    return JSONRenderer().render(data).decode()
