"""For commands: a worker to run one's job, and a way to follow it to its end."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from api.jobs.bell import open_bell
from api.jobs.models import Job
from api.jobs.worker import WorkerLoop
from api.system.selectors import live_workers

LOOK_SECONDS = 0.5  # the bell wakes it sooner; this only bounds what a lost ring costs


class NoWorkerLeftError(Exception):
    """The job waits, and nobody is there to run it."""


@contextmanager
def as_worker() -> Iterator[None]:
    """Within it this process supervises no worker process, whatever it submits; neither do those that it starts."""
    before = os.environ.get("DARKROOM_WORKER")
    os.environ["DARKROOM_WORKER"] = "command"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DARKROOM_WORKER"]
        else:
            os.environ["DARKROOM_WORKER"] = before


@contextmanager
def a_worker(tell: Callable[[str], object]) -> Iterator[None]:
    """Within it a worker is alive: one that is there already, else a loop in a thread of this process."""
    with as_worker():
        yield from lend_worker(tell)


def lend_worker(tell: Callable[[str], object]) -> Iterator[None]:
    if live_workers():
        yield
        return
    from api.system.runtime import describe_runtime, start_runtime

    tell("No worker is alive: this process loads the model and does the work itself.")
    start_runtime()
    loop = WorkerLoop(describe=describe_runtime)
    thread = threading.Thread(target=run_and_close, args=(loop,), name="worker")
    thread.start()
    try:
        yield
    finally:
        loop.stop(drain_seconds=0)
        thread.join()


def run_and_close(loop: WorkerLoop) -> None:
    try:
        loop.run()
    finally:
        connection.close()


def follow_job(job: Job) -> Iterator[Job]:
    """The row as it moves, last when it has ended. Raises NoWorkerLeftError when no worker was alive for two leases."""
    bell = open_bell("web")
    alive = time.monotonic()
    try:
        while True:
            now = Job.objects.get(pk=job.pk)
            yield now
            if now.is_final:
                return
            if live_workers():
                alive = time.monotonic()
            elif time.monotonic() - alive > 2 * settings.JOB_LEASE_SECONDS:
                raise NoWorkerLeftError
            bell.wait(LOOK_SECONDS)
    finally:
        bell.close()
