"""Why a worker could not start, kept on its row: so that web processes, which start none themselves, can say it."""

import socket
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db.models.functions import Now

from api.jobs.models import Job, Worker
from api.jobs.states import Status

FIELD = "start_failure"
WARM_UP_FIELD = "warm_up_failure"
HUNG_FIELD = "hung_warm_up"


def record_start_failure(worker_id: uuid.UUID, reason: str) -> None:
    """Its row ends with the reason. Of this machine's failures only the newest is kept: a start may be tried again for days."""
    host = socket.gethostname()
    ended = {"state": Worker.State.STOPPED, "loaded_models": [], "device": {FIELD: reason}, "heartbeat_at": Now()}
    Worker.objects.update_or_create(pk=worker_id, defaults=ended, create_defaults={**ended, "hostname": host, "pid": 0})
    Worker.objects.filter(hostname=host, device__has_key=FIELD).exclude(pk=worker_id).delete()


def record_death_at_start(worker_id: uuid.UUID, how: str) -> None:
    """Its process ended as `how` says. Nothing is recorded where it had started, had a job, or has given its own reason."""
    worker = Worker.objects.filter(pk=worker_id).first()
    if worker is not None and worker.state != Worker.State.STARTING:
        return
    if not Job.objects.filter(worker_id=worker_id, status=Status.RUNNING).exists():
        record_start_failure(worker_id, f"The worker ended with {how} while it started; the server's log has more.")


def start_failure() -> str:
    """The reason of the newest worker that is past its start; '' where that one started."""
    newest = Worker.objects.exclude(state=Worker.State.STARTING).order_by("-pk").first()
    return str(newest.device.get(FIELD, "")) if newest is not None else ""


def forget_start_failures() -> None:
    """The server starts anew: what kept this machine's workers from starting before, or hung their warm-up, may be mended."""
    Worker.objects.filter(hostname=socket.gethostname(), device__has_any_keys=[FIELD, HUNG_FIELD]).delete()


# ---------------------------------------------------------------- warm-ups


def record_hung_warm_up(worker_id: uuid.UUID) -> None:
    """This worker's process ends for it."""
    ended = {"state": Worker.State.STOPPED, "loaded_models": [], "device": {HUNG_FIELD: True}}
    Worker.objects.filter(pk=worker_id).update(**ended)


def warm_up_has_hung() -> bool:
    """On this machine, within the last hour."""
    recent = Now() - timedelta(hours=1)
    workers = Worker.objects.filter(hostname=socket.gethostname(), heartbeat_at__gte=recent)
    return workers.filter(device__has_key=HUNG_FIELD).exists()


def warm_up_failure(workers: Iterable[Worker]) -> str:
    """Why one of these was not warmed up; '' where all were."""
    return next((str(worker.device[WARM_UP_FIELD]) for worker in workers if WARM_UP_FIELD in worker.device), "")
