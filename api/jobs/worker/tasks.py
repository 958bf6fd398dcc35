"""What a Celery worker does with a wake-up: it claims and runs as long as something waits.

The message carries a job's id and decides nothing: rows are claimed as every worker claims them, so a message that comes twice, late
or never only costs a look at the table.
"""

import os
import threading

from celery import shared_task
from celery.signals import worker_init, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import close_old_connections
from django.utils.module_loading import import_string

from api.jobs.worker.loop import WorkerLoop

_loop: WorkerLoop | None = None
_running = threading.Lock()  # one thread runs models, whatever the pool's size


@worker_init.connect
def start_hosting(**_: object) -> None:
    """In `celery -A config worker` alone: its process becomes a worker of the queue, with a row, leases and a sweep of its own."""
    os.environ.setdefault("DARKROOM_WORKER", "celery")
    host(import_string(settings.WORKER_FACTORY)())


def host(loop: WorkerLoop) -> None:
    """Make this process a worker: its lease keeper starts, which also sweeps and publishes what waits unheard, and its publisher."""
    global _loop
    _loop = loop
    loop.start_threads()
    loop.warm_up_once()


@worker_shutting_down.connect
def stop_claiming(**_: object) -> None:
    """As soon as the signal has come: Celery then waits for its task, which would go on for as long as anything waits in the queue."""
    if _loop is not None:
        threading.Thread(
            target=_loop.stop
        ).start()  # a signal handler runs in the middle of whatever this thread does with the database


@worker_shutdown.connect
def stop_hosting(**_: object) -> None:
    if _loop is not None:
        _loop.stop()
        _loop.end()


@shared_task(name="darkroom.wake", ignore_result=True)
def wake(job_id: str) -> None:
    """Claim and run until nothing waits."""
    loop = _loop
    if loop is None:
        raise RuntimeError("Start the Celery worker with `celery -A config worker`: only that makes it a worker of the queue.")
    with _running:
        close_old_connections()
        while not loop.stopping.is_set() and loop.run_once():
            pass
        loop.drain()  # what was begun is ended, or handed back, before this process ends
