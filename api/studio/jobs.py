"""A job as the studio's pages show it."""

from api.images.candidates import candidates_context
from api.images.models import GeneratedImage
from api.jobs.admin.tools import between, seconds_text
from api.jobs.api.selectors import queue_position
from api.jobs.models import Job
from api.jobs.states import Status


def job_context(job: Job, preview: str = "") -> dict[str, object]:
    return {
        "job": job,
        "active": not job.is_final,
        "stopping": job.status == Status.RUNNING and job.cancel_requested_at is not None,
        "position": queue_position(job),
        "percent": round(100 * job.progress.get("fraction", 0)),
        "preview": preview,
        "seconds": seconds_text(between(job.created_at, job.finished_at)),
        "candidates": candidates_context(job.result),
        "made": list(GeneratedImage.objects.filter(job=job).order_by("index")) if job.status == Status.SUCCEEDED else [],
    }
