"""A Celery worker as a worker of the queue: the same loop as `manage.py worker` has, in a thread, woken by the broker's messages.

A message carries a job's id and decides nothing: rows are claimed as every worker claims them, so a message that comes twice, late
or never only costs a look at the table. The loop looks by itself each second, too: while the broker is away, jobs go on.
"""

import logging
import os
import signal
import socket
import threading

from celery import shared_task
from celery.signals import worker_init, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from api.jobs.notify.channels import Heard
from api.jobs.worker.loop import WorkerLoop

log = logging.getLogger("darkroom.worker")
LONGEST_WAKE_SECONDS = 300.0
"""RabbitMQ closes the channel of a message that is not acknowledged for half an hour (consumer_timeout)."""


class BrokerSubscription:
    """What the loop waits for. `wake` returns once the loop has looked for jobs and found none, so that a busy worker holds one message,
    and the broker gives the next one to another.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.asked = self.looking = self.looked = 0
        self.is_closed = False

    def wait(self, timeout: float, *_: socket.socket) -> Heard:
        """The loop has looked since the last call; what was asked for after that look began ends the next wait at once."""
        with self.changed:
            self.looked = self.looking
            self.changed.notify_all()
            woken = self.changed.wait_for(lambda: self.asked > self.looked or self.is_closed, timeout)
            self.looking = self.asked
        return Heard.ANYTHING if woken else Heard.NOTHING

    def wake(self, timeout: float = LONGEST_WAKE_SECONDS) -> None:
        with self.changed:
            self.asked += 1
            mine = self.asked
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.looked >= mine or self.is_closed, timeout)

    def close(self) -> None:
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()


class HostedLoop(threading.Thread):
    """The loop's own thread: models are built and used in one thread, whatever Celery's pool does."""

    def __init__(self, loop: WorkerLoop) -> None:
        super().__init__(name="jobs", daemon=True)
        self.loop, self.subscription = loop, BrokerSubscription()

    def run(self) -> None:
        try:
            self.loop.run(self.subscription)
            if not self.loop.stopping.is_set():  # drained, and asked to end then
                end_process()
        except BaseException:
            log.critical("The worker's loop ended; so does this process, and another takes its jobs", exc_info=True)
            os._exit(1)
        finally:
            self.subscription.close()
            connection.close()

    def stop(self) -> None:
        """It claims no more, and ends what runs or hands it back."""
        self.loop.stop()
        with self.subscription.changed:
            self.subscription.asked += 1
            self.subscription.changed.notify_all()


_hosted: HostedLoop | None = None


def end_process() -> None:
    """As an operator does it."""
    os.kill(os.getpid(), signal.SIGTERM)


@worker_init.connect
def start_hosting(**_: object) -> None:
    """In `celery -A config worker` alone: its process becomes a worker of the queue, with a row, leases and a sweep of its own.

    Raises SystemExit where it can't, since Celery would log anything else and go on, taking messages that wake nobody.
    """
    global _hosted
    os.environ.setdefault("DARKROOM_WORKER", "celery")
    try:
        _hosted = HostedLoop(import_string(settings.WORKER_FACTORY)())
    except Exception as error:
        raise SystemExit(f"This worker can't start: {error}") from error
    _hosted.start()


@worker_shutting_down.connect
def stop_claiming(**_: object) -> None:
    """At the signal, and in a thread of its own: it is sent by a signal handler, and uses the database."""
    if _hosted is not None:
        threading.Thread(target=_hosted.stop).start()


@worker_shutdown.connect
def stop_hosting(**_: object) -> None:
    global _hosted
    if _hosted is not None:
        if not _hosted.loop.stopping.is_set():
            _hosted.stop()
        _hosted.join()
        _hosted = None


@shared_task(name="darkroom.wake", ignore_result=True)
def wake(job_id: str) -> None:
    """Wake the loop, and return when nothing waits."""
    if _hosted is None:
        raise RuntimeError("Start the Celery worker with `celery -A config worker`: only that makes it a worker of the queue.")
    _hosted.subscription.wake()
