"""Wake-ups through Celery's broker, for workers on other machines (JOB_RUNNER=celery)."""

import logging

from django.conf import settings

from api.counting import wakeups

log = logging.getLogger("darkroom.jobs")


def publish_if_celery(*, job_id: str, **_: object) -> None:
    """A receiver of `work_waiting`."""
    if settings.JOB_RUNNER == "celery":
        publish(job_id)


def publish(job_id: str) -> None:
    """The message carries only the job's id; a broker that is down costs a delay, never a job."""
    from config.celery import app

    try:
        app.send_task("darkroom.wake", args=[job_id], retry=False)
        wakeups.add("sent")
    except Exception as error:  # every transport has exceptions of its own
        wakeups.add("failed")
        log.warning("The broker took no wake-up (%s); the sweep sends another", error.__class__.__name__)
