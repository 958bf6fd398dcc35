"""Cancel: a queued job ends at once, a running one is asked to stop."""

from django.db import transaction

from api.jobs.lifecycle.dead_workers import has_died
from api.jobs.lifecycle.end import end_job, transition
from api.jobs.lifecycle.requeue import hand_back
from api.jobs.models import Job
from api.jobs.notify import wakeups
from api.jobs.states import ACTIVE, Status
from api.jobs.store import transitions
from api.jobs.store.parents import lock_ancestors


def cancel_job(*, job: Job, keeps_finished: bool = False) -> Job:
    """Queued: cancelled at once. Running: asked to stop at its next step. Ended: as it is. Returns the job as it now stands.

    A job that waits passes it on to its children, and is cancelled with the last of them. With `keeps_finished` a kind that can
    (see RunningJob.keeps_finished) ends its job with what is finished by then, as one that succeeded. Where its worker is known to be
    dead, nobody would hear it: it is cancelled at once, too.
    """
    with transaction.atomic():
        lock_ancestors(job)
        now = Job.objects.select_for_update().get(pk=job.pk)  # locked: a hand-back between two looks would hide it from both
        if now.status == Status.QUEUED:
            end_job(now, Status.CANCELLED, None, from_status=Status.QUEUED)
        elif now.status == Status.RUNNING and now.cancel_requested_at is None:
            transition(now, Status.RUNNING, cancel_requested_at=transitions.clock(), keeps_finished=keeps_finished)
            wakeups.notify_lease_keepers_on_commit()
            for child in now.children.filter(status__in=ACTIVE).order_by("pk"):
                cancel_job(job=child)
        if now.status == Status.RUNNING and has_died(now.worker):
            hand_back(job=now, reason="Its worker was killed")
    return Job.objects.get(pk=job.pk)
