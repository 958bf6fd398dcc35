"""For commands: a worker to run one's job, and a way to follow it to its end."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from rest_framework.exceptions import ValidationError

from api.access.principals import LOCAL
from api.errors import DarkroomError
from api.jobs.api.submission import Submission, submit
from api.jobs.lifecycle import cancel_job
from api.jobs.models import Job, Worker
from api.jobs.notify.channels import subscribe
from api.jobs.states import Status
from api.jobs.worker.loop import WorkerLoop
from api.problems import FieldError, field_errors
from api.system.selectors import live_workers

LOOK_SECONDS = 0.5  # a notification wakes it sooner; this bounds the wait when one is lost


INTERRUPTED = 130
WHOLE_SENTENCES = {"too_few"}  # codes whose detail needs no field's name before it


class NoWorkerLeftError(Exception):
    """The job waits, and nobody is there to run it."""


def checked(serializer: Any) -> Submission:
    """The request that a command makes, by the same serializer as one over HTTP. Raises CommandError with what is wrong."""
    try:
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()  # type: ignore[no-any-return]
    except ValidationError as error:
        raise CommandError("\n".join(sentence_of(wrong) for wrong in field_errors(error.detail))) from None
    except DarkroomError as problem:
        raise CommandError(problem.detail) from None


def sentence_of(wrong: FieldError) -> str:
    return wrong["detail"] if wrong["code"] in WHOLE_SENTENCES else f"{wrong['field']}: {wrong['detail']}"


def run_to_end(command: BaseCommand, submission: Submission, follow: Callable[[Iterator[Job]], Job]) -> Job:
    """The job, which succeeded; its warnings are told. Raises CommandError for every other end, and cancels it at Ctrl-C.

    `follow` gets its row again and again as it moves, and returns the last.

    It is submitted where a worker is alive already: before that, submitting would make this process supervise one.
    """
    with a_worker(command.stderr.write), Watch() as watch:
        try:
            job = submit(submission, principal=LOCAL, source="command")
        except DarkroomError as problem:
            raise CommandError(problem.detail) from None
        try:
            job = follow(watch.follow(job))
        except KeyboardInterrupt:
            cancel_job(job=job)
            raise CommandError("Cancelled.", returncode=INTERRUPTED) from None
        except NoWorkerLeftError:
            raise CommandError(f"The worker is gone. Job {job.id} stays in the queue for the next one.") from None
    for warning in job.warnings:
        command.stderr.write(warning, command.style.WARNING)
    if job.status != Status.SUCCEEDED:
        raise CommandError(job.error["detail"] if job.error else f"The job was {job.status}.")
    return job


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
    if any(map(may_be_there, live_workers())):
        yield
        return
    from api.system.worker_runtime import describe_runtime, start_runtime

    tell("No worker is alive: this process loads the model and does the work itself.")
    start_runtime()
    loop = WorkerLoop(describe=describe_runtime)
    thread = threading.Thread(target=run_and_close, args=(loop,), name="worker")
    thread.start()
    try:
        yield
    finally:
        loop.stop(grace_seconds=0)
        thread.join()


def may_be_there(worker: Worker) -> bool:
    """One that was killed has a young heartbeat for a while; on this machine its process tells that it is gone."""
    return worker.hostname != socket.gethostname() or psutil.pid_exists(worker.pid)


def run_and_close(loop: WorkerLoop) -> None:
    try:
        loop.run()
    finally:
        connection.close()


class Watch:
    """Waits for jobs to move. Within it the first Ctrl-C is kept for `heed` and `wait` to raise: one that lands where a transaction
    begins or ends leaves a connection that Django can't use any more, and nothing could be cancelled. The second is raised at once.
    """

    def __enter__(self) -> "Watch":
        self.subscription, self.alive, self.interrupted = subscribe("web"), time.monotonic(), False
        self.handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and self.handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self.interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        if signal.getsignal(signal.SIGINT) == self.interrupt:
            signal.signal(signal.SIGINT, self.handler)
        self.subscription.close()

    def interrupt(self, *_: object) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self.handler)

    def heed(self) -> None:
        """Raises KeyboardInterrupt where Ctrl-C was pressed."""
        if self.interrupted:
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Returns once some job may have moved. Raises NoWorkerLeftError when no worker was alive for two leases."""
        self.heed()
        if live_workers():
            self.alive = time.monotonic()
        elif time.monotonic() - self.alive > 2 * settings.JOB_LEASE_SECONDS:
            raise NoWorkerLeftError
        self.subscription.wait(LOOK_SECONDS)
        self.heed()

    def follow(self, job: Job) -> Iterator[Job]:
        """The row as it moves, last when it has ended. Raises NoWorkerLeftError."""
        while True:
            now = Job.objects.get(pk=job.pk)
            yield now
            if now.is_final:
                return
            self.wait()
