"""Runs jobs: one process a device. Started by the web process itself (JOB_RUNNER=embedded), or by hand, one for each device."""

import os
import signal
import threading
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from api.jobs.start_failures import record_start_failure
from api.system.worker_trial import sentence_for_start
from config.env import DEVICE_NAME

PARENT_GONE_GRACE_SECONDS = 1.0
LAST_EXIT_SECONDS = 15.0


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--worker-id", type=uuid.UUID, default=None, help="given by the supervisor")
        parser.add_argument(
            "--parent-pipe", type=int, default=None, help="given by the supervisor: the worker ends when it closes"
        )
        parser.add_argument("--trial", action="store_true", help="only try the device: exit status 0 where a worker can start")
        parser.add_argument("--number", type=int, default=0, help="given by the supervisor: which of its workers this is")
        parser.add_argument("--device", type=read_device, default=None, help="cpu, mps, cuda or cuda:1; without it, DEVICE")

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ["DARKROOM_WORKER"] = os.environ.get("DARKROOM_WORKER") or "external"
        from api.system.versions import start_reporting
        from api.system.worker_factory import make_worker

        if options["trial"]:
            self.prepare_or_tell(self.stdout.write)
            return

        settings.DEVICE = options["device"] or settings.DEVICE
        if options["parent_pipe"] is not None:
            wait_for_the_one_before(options["number"])
        loop = make_worker(options["worker_id"])
        start_reporting("worker")
        # In a thread, since a signal handler runs in the middle of whatever the loop is doing with the database.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=loop.stop).start())
        signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=loop.stop).start())
        if options["parent_pipe"] is not None:
            threading.Thread(target=end_with_parent, args=(options["parent_pipe"], loop), daemon=True).start()
        self.prepare_or_tell(partial(record_start_failure, loop.worker.pk))
        loop.run()

    def prepare_or_tell(self, record: Callable[[str], None]) -> None:
        """Raises CommandError with what keeps a worker from starting here."""
        from api.system.worker_factory import prepare

        try:
            prepare()
        except Exception as error:
            reason = sentence_for_start(error)
            record(reason)
            raise CommandError(reason) from None


def read_device(text: str) -> str:
    if not DEVICE_NAME.fullmatch(text):
        raise ArgumentTypeError(f"{text} is no device; cpu, mps, cuda and cuda:1 are.")
    return text


def wait_for_the_one_before(number: int) -> None:
    """One embedded worker of each number a data folder: a worker whose web process was killed may still be ending."""
    import fcntl

    file = open(settings.DATA_DIR / (f"worker-{number}.lock" if number else "worker.lock"), "a")
    fcntl.flock(file, fcntl.LOCK_EX)
    globals()["_lock"] = file


def end_with_parent(pipe: int, loop: Any) -> None:
    """Blocks until the supervisor's end of the pipe closes, however it died."""
    os.read(pipe, 1)
    loop.stop(grace_seconds=PARENT_GONE_GRACE_SECONDS)
    timer = threading.Timer(LAST_EXIT_SECONDS, os._exit, args=(0,))
    timer.daemon = True
    timer.start()
