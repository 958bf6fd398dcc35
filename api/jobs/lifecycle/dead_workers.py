"""What workers held that have died on this machine, and whose supervisor, where they had one, died too: without it their leases' end
would be waited for.
"""

import logging
import socket

from api.jobs.lifecycle.requeue import release_worker
from api.jobs.models import Worker
from api.jobs.processes import is_dead
from api.metric_definitions import workers_lost

log = logging.getLogger("darkroom.jobs")


def release_dead_workers() -> int:
    """Hand their rows back at once. Returns how many workers were found dead."""
    here = Worker.objects.filter(hostname=socket.gethostname()).exclude(state=Worker.State.STOPPED)
    dead = [worker for worker in here if has_died(worker)]
    for worker in dead:
        still_there = Worker.objects.filter(pk=worker.pk).exclude(state=Worker.State.STOPPED)
        workers_lost.add(by=still_there.update(state=Worker.State.STOPPED))  # once, where two look at the same moment
        count = release_worker(worker.pk)
        log.warning("Worker %s had been killed; %d of its jobs were handed back", worker, count)
    return len(dead)


def has_died(worker: Worker | None) -> bool:
    """As far as that is known here."""
    return worker is not None and bool(worker.process) and is_dead(worker.pid, worker.process)
