"""Keeps one worker process alive for each device, for this data folder, from whichever web process holds the lock.

A child process and not a thread: a CUDA fault, an OOM kill or a hang must never take the API down. The worker ends when the pipe that
this process holds closes, so that a killed web process leaves no orphan, and another web process takes over.
"""

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from api.jobs.draining import is_machine_out
from api.jobs.identifiers import uuid7
from api.jobs.lifecycle import release_dead_workers, release_worker
from api.jobs.start_failures import record_death_at_start
from api.jobs.worker.device_list import worker_devices

log = logging.getLogger("darkroom.supervisor")
TAKE_OVER_SECONDS = 0.5
HEALTHY_SECONDS = 30.0
LONGEST_BACKOFF = 30.0
FAULT_EXIT = 70

_started: threading.Thread | None = None
_starting = threading.Lock()


def start_if_embedded(**_: object) -> None:
    """A receiver of `work_waiting`."""
    if settings.JOB_RUNNER == "embedded":
        ensure_started()


def ensure_started() -> None:
    """Start supervising from this process, once; cheap to call again. Does nothing in a worker, which has no children."""
    global _started
    if _started is not None or os.environ.get("DARKROOM_WORKER"):
        return
    with _starting:
        if _started is None:
            _started = threading.Thread(target=supervise, name="supervisor", daemon=True)
            _started.start()


def lock_file(path: Path) -> IO[str] | None:
    """An open file with an exclusive lock, or None where another process has it. The lock ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def supervise() -> None:
    """Waits until no other process supervises the workers of this data folder, then does so for good."""
    lock = None
    while lock is None:
        lock = lock_file(Path(settings.DATA_DIR) / "supervisor.lock")
        if lock is None:
            time.sleep(TAKE_OVER_SECONDS)
    take_over_rows()
    supervisors = [Supervisor(device, number) for number, device in enumerate(worker_devices())]
    for supervisor in supervisors:
        supervisor.start()
    for supervisor in supervisors:
        supervisor.join()


def take_over_rows() -> None:
    """Those of workers that were killed together with their supervisor. The next workers ask again, once they have torch."""
    try:
        release_dead_workers()
    except (DatabaseError, InterfaceError):
        log.warning("Workers that died before this start were not looked for; the next worker does", exc_info=True)
    finally:
        connection.close()


class Supervisor(threading.Thread):
    """Of one worker process, the `number`th of this data folder."""

    def __init__(self, device: str = "", number: int = 0) -> None:
        super().__init__(name=f"supervisor-{number}", daemon=True)
        self.device, self.number = device, number
        self.failures = 0

    def run(self) -> None:
        while True:
            self.run_one_worker()

    def run_one_worker(self) -> None:
        while is_out():
            time.sleep(TAKE_OVER_SECONDS)
        worker_id = uuid7()
        started = time.monotonic()
        code = self.spawn_and_wait(str(worker_id))
        lived = time.monotonic() - started
        time.sleep(self.delay_after(code, lived=lived, paid=self.hand_back_rows(worker_id, code)))

    def delay_after(self, code: int, *, lived: float, paid: int) -> float:
        """Seconds until the next worker starts. `paid`: the rows that it held, each of which pays for its end with an attempt.

        Since a row has few of those, such ends are few; those that no row explains could go on for ever, and so are slowed down.
        """
        self.failures = 0 if paid or lived > HEALTHY_SECONDS else self.failures + 1
        delay = min(LONGEST_BACKOFF, 0.2 * 2 ** min(self.failures, 10)) if self.failures > 1 else 0.0
        held = f" with {paid} {'job' if paid == 1 else 'jobs'}" if paid else ""
        name = f"The worker of {self.device}" if self.device else "The worker"
        log.error("%s ended (%s)%s; the next one starts in %.1f s", name, describe_exit(code), held, delay)
        return delay

    def spawn_and_wait(self, worker_id: str) -> int:
        """Popen.wait and not a signal handler: this runs beside whatever server is in this process."""
        read_end, write_end = os.pipe()
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "worker", "--worker-id", worker_id]
        command += ["--parent-pipe", str(read_end), "--number", str(self.number)]
        command += ["--device", self.device] if self.device else []
        environment = {**os.environ, "DARKROOM_WORKER": "embedded"}
        try:
            child = subprocess.Popen(command, pass_fds=[read_end], env=environment, stdin=subprocess.DEVNULL)
            return child.wait()
        except OSError as error:  # no memory or no process to be had: tried again, as after any other end
            log.error("No worker could be started: %s", error)
            return FAULT_EXIT
        finally:
            os.close(read_end)
            os.close(write_end)

    def hand_back_rows(self, worker_id: uuid.UUID, code: int) -> int:
        """How many there were, as far as that is known."""
        try:
            if code != 0:
                record_death_at_start(worker_id, describe_exit(code))
            return release_worker(worker_id)
        except (DatabaseError, InterfaceError):
            log.warning("The dead worker's rows could not be handed back; the sweep will do it", exc_info=True)
            return 0
        finally:
            connection.close()


def is_out() -> bool:
    """Whether this machine was taken out of work; in doubt a worker is started, which looks for that itself."""
    try:
        return is_machine_out(socket.gethostname())
    except (DatabaseError, InterfaceError):
        return False
    finally:
        connection.close()


def describe_exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
