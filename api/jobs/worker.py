"""The worker's loop: claim → gather a batch → run → record. One thread runs models; the lease keeper is the other."""

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from api.jobs import dispatch, services
from api.jobs.bell import open_bell
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled, JobError, WorkerFault
from api.jobs.kinds import get_kind
from api.jobs.lease import LeaseKeeper
from api.jobs.models import Job, Worker
from api.jobs.runs import JobRun
from api.jobs.sweep import clean_history
from config.logs import job_id as job_id_of_log

log = logging.getLogger("darkroom.worker")
IDLE_SECONDS = 1.0  # the bell wakes it sooner; this only bounds what a lost ring costs
DRAIN_SECONDS = 20.0
LONGEST_TURN_SECONDS = 5.0
FAULT_EXIT = 70


class WorkerLoop:
    """One process's claim on the queue.

    `describe` reports the device and the loaded models for the Worker row; `clean` is the slow housekeeping; `warm_up` is
    called once, as soon as no job waits.
    """

    def __init__(
        self,
        *,
        worker_id: uuid.UUID | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        clean: Callable[[], None] = clean_history,
        warm_up: Callable[[], None] | None = None,
    ) -> None:
        row = Worker(hostname=socket.gethostname(), pid=os.getpid())
        row.id = worker_id or row.id
        row.save(force_insert=True)
        self.worker = row
        self.describe = describe
        self.warm_up = warm_up
        self.state = Worker.State.IDLE
        self.stopping = threading.Event()  # claim no more
        self.interrupted = threading.Event()  # and stop what runs, at its next step
        self.keeper = LeaseKeeper(row, self.report, clean)

    def report(self) -> dict[str, Any]:
        return {"state": self.state, **self.describe()}

    def run(self) -> None:
        """Until `stop` is called."""
        bell = open_bell("worker")
        self.keeper.start()
        log.info("Worker %s is ready", self.worker)
        while not self.stopping.is_set():
            try:
                if not self.run_once() and not self.warm_up_once():
                    close_old_connections()  # not at each turn: to open one takes longer than to claim
                    bell.wait(IDLE_SECONDS)
            except (DatabaseError, InterfaceError):
                log.warning("The database didn't answer; trying again", exc_info=True)
                connection.close()
                self.stopping.wait(IDLE_SECONDS)
        bell.close()
        self.end()

    def run_once(self) -> bool:
        """Claim and run one batch. Whether there was one."""
        jobs = services.claim_jobs(worker=self.worker)
        if jobs:
            self.run_batch(jobs)
        return bool(jobs)

    def warm_up_once(self) -> bool:
        """Whether there was something to warm up. A failure is for the job that needs it to tell."""
        warm_up, self.warm_up = self.warm_up, None
        if warm_up is None:
            return False
        self.set_state(Worker.State.LOADING)
        try:
            warm_up()
        except Exception:
            log.warning("The warm-up failed", exc_info=True)
        self.set_state(Worker.State.IDLE)
        return True

    def run_batch(self, jobs: list[Job]) -> None:
        kind = get_kind(jobs[0].kind)
        runs = [JobRun(job, kind, self.interrupted) for job in jobs]
        self.keeper.hold(runs)
        self.set_state(Worker.State.BUSY)
        job_id_of_log.set(str(jobs[0].id))
        try:
            kind.run(runs)
            fail_unresolved(runs, JobError("internal_error", 500, "The job ended without a result; the log has more."))
        except JobCancelled:
            stop_unresolved(runs)
        except JobError as error:
            fail_unresolved(runs, error)
        except WorkerFault:
            log.critical("The device failed; this worker ends, and another takes its jobs", exc_info=True)
            os._exit(FAULT_EXIT)
        except CONNECTION_ERRORS:
            raise  # the rows are still ours by lease; the sweep gives them to whoever reaches the database
        except Exception:
            log.exception("Job %s failed", ", ".join(str(run.id) for run in runs))
            fail_unresolved(runs, JobError("internal_error", 500, "The job failed; the log has the reason under its id."))
        finally:
            self.keeper.let_go()
            job_id_of_log.set("")
            self.set_state(Worker.State.IDLE)

    def set_state(self, state: Worker.State) -> None:
        self.state = state
        self.keeper.tell_soon()

    def stop(self, *, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Claim no more. What runs may end within `drain_seconds`; then it is handed back at its next step.

        For a thread that is not the loop's own: it uses the database, and in a signal handler that could be in the middle of a query.
        """
        self.stopping.set()
        timer = threading.Timer(drain_seconds, self.interrupted.set)
        timer.daemon = True
        timer.start()
        dispatch.ring_quietly("worker")
        connection.close()

    def end(self) -> None:
        self.keeper.ended.set()
        if self.keeper.is_alive():
            self.keeper.join(LONGEST_TURN_SECONDS)
        Worker.objects.filter(pk=self.worker.pk).update(state=Worker.State.STOPPED, loaded_models=[])
        log.info("Worker %s has ended", self.worker)


def fail_unresolved(runs: list[JobRun], error: JobError) -> None:
    for run in runs:
        if not run.resolved:
            run.stop() if run.cancelled else run.fail(error)


def stop_unresolved(runs: list[JobRun]) -> None:
    for run in runs:
        if not run.resolved:
            run.stop()
