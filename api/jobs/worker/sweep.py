"""What puts right what a crash left behind: run by every worker each few seconds, harmless when run by many at once."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from api.jobs.lifecycle import fail_jobs_of_ended_workers, hand_back_all
from api.jobs.models import Job, Worker
from api.jobs.notify import wakeups
from api.jobs.states import Status
from api.jobs.store import transitions
from api.metric_definitions import workers_lost

log = logging.getLogger("darkroom.jobs")
CHUNK = 500
JOB, WORKER = Job._meta.db_table, Worker._meta.db_table


def sweep() -> int:
    """Hand back the rows whose lease has ended, and wake workers again for those that wait. Returns how many were handed back."""
    return put_right() if is_anything_wrong() else 0


def is_anything_wrong() -> bool:
    """Or waits. By one statement: most sweeps find nothing, which the ORM's six take 3 ms of the processor to say."""
    lease, now = settings.JOB_LEASE_SECONDS, transitions.clock()
    wrong = [
        f"{JOB} WHERE status = 'running' AND (lease_expires_at < {now} OR lease_expires_at > {transitions.clock(lease)})",
        f"{JOB} WHERE status = 'queued' AND {transitions.is_due()}",
        f"{JOB} WHERE status = 'queued' AND only_worker_id IS NOT NULL",
        f"{WORKER} WHERE heartbeat_at > {transitions.clock(lease)}",
        f"{WORKER} WHERE heartbeat_at < {transitions.clock(-2 * lease)} AND state <> 'stopped'",
    ]
    return transitions.holds(" OR ".join(f"EXISTS (SELECT 1 FROM {rows})" for rows in wrong), [])  # noqa: S608


def put_right() -> int:
    forget_the_future()
    lost = Job.objects.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")[:CHUNK]
    count = hand_back_all(lost, "Its worker stopped answering", if_expired=True)
    if count:
        log.warning("%d jobs had lost their worker and were handed back", count)
    if transitions.find_waiting() is not None:
        wakeups.notify_quietly("worker")  # and no broker: while all are busy, each sweep would leave one more message there
    silent = Now() - timedelta(seconds=2 * settings.JOB_LEASE_SECONDS)
    lost_workers = Worker.objects.filter(heartbeat_at__lt=silent).exclude(state=Worker.State.STOPPED)
    if silent_count := lost_workers.update(state=Worker.State.STOPPED, loaded_models=[]):
        workers_lost.add(by=silent_count)
    fail_jobs_of_ended_workers()
    return count


def forget_the_future() -> None:
    """Where the clock was set back: a lease is cut to the length that leases have, a heartbeat to now. Who lives renews them soon."""
    longest = Now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)
    Job.objects.filter(status=Status.RUNNING, lease_expires_at__gt=longest).update(lease_expires_at=longest)
    Worker.objects.filter(heartbeat_at__gt=longest).update(heartbeat_at=Now())
