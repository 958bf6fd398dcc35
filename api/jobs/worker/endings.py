"""How a running job's end is written: the only place that records, fails, stops or hands back what a worker has claimed."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db import connection
from django.utils import timezone

from api import tracing
from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.children import wait_for_children
from api.jobs.errors import CONNECTION_ERRORS, LeaseLost
from api.jobs.kinds import AnyKind, get_kind, read_spec
from api.jobs.models import Job
from api.jobs.retry_policy import StorageOutage, may_wait_for_storage
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped, Waiting
from api.jobs.worker import traces
from api.jobs.worker.progress_publisher import ProgressPublisher
from api.outages import outage_of
from api.specs import Spec, StoredSpec

log = logging.getLogger("darkroom.jobs")
Running = RunningJob[Spec]
_outage = StorageOutage()
FINISH_RETRIES = (0.2, 1.0, 5.0)  # seconds before trying again: a database that restarts must not cost the work that is done


def start_running(job: Job, publisher: ProgressPublisher | None = None, interrupted: threading.Event | None = None) -> Running:
    """Raises DarkroomError where the job's request can't be read. Without a publisher progress is told before other events alone."""
    running = RunningJob(job, read_spec(job), publisher or ProgressPublisher(), interrupted)
    running.span = traces.begin(job)
    return running


def start_readable(jobs: Iterable[Job], publisher: ProgressPublisher, interrupted: threading.Event) -> list[Running]:
    """Those whose request can be read; the others fail."""
    started: list[Running] = []
    for job in jobs:
        try:
            started.append(start_running(job, publisher, interrupted))
        except DarkroomError as error:
            fail(RunningJob(job, StoredSpec(kind=job.kind, params=job.params), publisher), error)
    traces.begin_batch(started)
    return started


def end(outcome: Outcome) -> None:
    """Write what became of a job; nothing where it has ended already. Raises CONNECTION_ERRORS where the database stays away."""
    try:
        with tracing.use(outcome.running.span):
            write_outcome(outcome)
    except BaseException as error:
        traces.finish(outcome, type(error).__name__)
        raise
    traces.finish(outcome)


def write_outcome(outcome: Outcome) -> None:
    running = outcome.running
    running.flush()
    if isinstance(outcome, Finished):
        finish(running, get_kind(running.job.kind), outcome.output)
    elif isinstance(outcome, Failed):
        fail_or_retry(running, outcome.error)
    elif isinstance(outcome, Waiting):
        wait(running, outcome)
    else:
        stop(running)


def finish(running: Running, kind: AnyKind, output: object) -> None:
    """running → succeeded, with the rows of `output`; its files are removed where the job is no longer this attempt's."""
    try:
        record(running, kind, output)
    except (LeaseLost, *CONNECTION_ERRORS) as error:
        discard_unless_recorded(running, kind, output)
        if not isinstance(error, LeaseLost):
            raise
    except BaseException:
        kind.discard(output)
        raise
    running.ended = True


def record(running: Running, kind: AnyKind, output: object) -> None:
    values: dict[str, Any] = {"warnings": running.warnings, "timings": running.timings, "steps": running.step_reached[1]}

    def write() -> None:
        if kind.makes_rows:
            return lifecycle.finish_job(job=running.job, record=lambda job: kind.record(job, output), **values)
        return lifecycle.finish_job(job=running.job, result=kind.record(running.job, output), **values)

    write_patiently(running, write)


def write_patiently(running: Running, write: Callable[[], None]) -> None:
    """An end whose commit has no answer is tried again: the lease then holds it back where it was written."""
    for delay in (*FINISH_RETRIES, None):
        running.last_activity = time.monotonic()
        try:
            return write()
        except CONNECTION_ERRORS as error:
            if delay is None or outage_of(error) is None:
                raise
            log.warning("The end of job %s could not be written; trying again", running.id, exc_info=True)
            connection.close()
            time.sleep(delay)


def discard_unless_recorded(running: Running, kind: AnyKind, output: object) -> None:
    """A commit whose answer was lost may have happened: files that the row names stay, and so they do in doubt."""
    try:
        if lifecycle.is_recorded(running.job):
            return
    except CONNECTION_ERRORS:
        log.warning("Whether job %s was recorded isn't known; the sweep of orphans removes its files if not", running.id)
        return
    log.warning("Job %s was taken over or cancelled; this result is discarded", running.id)
    kind.discard(output)


def fail_or_retry(running: Running, error: DarkroomError) -> None:
    """running → queued for a while where the storage of pictures was away, else → failed."""
    job = running.job
    if not may_wait_for_storage(error, job.created_at, timezone.now()):
        return fail(running, error)
    delay = _outage.delay(time.monotonic())
    write_end(running, lambda: lifecycle.hand_back(job=job, reason=error.detail, blameless=True, delay=delay))
    log.warning("Job %s is tried again in %.0f s: %s", running.id, delay, error.detail)


def fail(running: Running, error: DarkroomError) -> None:
    """running → failed."""
    write_end(running, lambda: write_failure(running, error))
    log.info("Job %s failed: %s: %s", running.id, error.code, error.detail)


def write_failure(running: Running, error: DarkroomError) -> None:
    """Without warnings and timings where they can't be kept: what a kind left there must not end the worker, at each attempt again."""
    try:
        lifecycle.fail_job(job=running.job, error=error, warnings=running.warnings, timings=running.timings)
    except (LeaseLost, *CONNECTION_ERRORS):
        raise
    except Exception:
        log.exception("The warnings or timings of job %s can't be kept", running.id)
        lifecycle.fail_job(job=running.job, error=error)


def wait(running: Running, outcome: Waiting) -> None:
    """running → waiting for new children; failed where one of them is no request of its kind, or the disk is nearly full."""
    if running.ended:
        return None
    write = partial(
        wait_for_children,
        job=running.job,
        children=outcome.children,
        record=outcome.record,
        goes_without=outcome.goes_without,
        warnings=running.warnings,
        timings=running.timings,
    )
    try:
        write_patiently(running, write)
    except LeaseLost:
        log.warning("Job %s was no longer this worker's; its children are not submitted", running.id)
    except DarkroomError as error:
        return fail(running, error)
    running.ended = True


def stop(running: Running) -> None:
    """running → cancelled where that was asked for, else → queued."""
    if running.cancel_asked.is_set():
        write_end(running, lambda: lifecycle.acknowledge_cancel(job=running.job))
    else:
        reason = "The worker was told to stop"
        write_end(running, lambda: lifecycle.hand_back(job=running.job, reason=reason, blameless=True))


def write_end(running: Running, write: Callable[[], None]) -> None:
    if running.ended:
        return
    running.ended = True
    try:
        write_patiently(running, write)
    except LeaseLost:
        log.warning("Job %s was no longer this worker's to end", running.id)


def fail_remaining(batch: Iterable[Running], error: DarkroomError) -> None:
    """Those that have not ended: cancelled where that was asked for, else failed."""
    for running in batch:
        if not running.ended:
            end(Stopped(running) if running.cancelled else Failed(running, error))


def stop_remaining(batch: Iterable[Running]) -> None:
    for running in batch:
        if not running.ended:
            end(Stopped(running))
