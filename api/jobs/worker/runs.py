"""A job while it is worked on, as a handler sees it: parameters in; progress, warnings, timings and one outcome out."""

import base64
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from api.errors import DarkroomError
from api.jobs import lifecycle
from api.jobs.errors import CONNECTION_ERRORS, JobCancelled, LeaseLost
from api.jobs.kinds import JobKind
from api.jobs.models import Job

log = logging.getLogger("darkroom.jobs")
COALESCE_SECONDS = 0.05
FINISH_RETRIES = (0.2, 1.0, 5.0)  # seconds before trying again: a database that restarts must not cost the work that is done


def as_data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class JobRun:
    """One attempt at one job. Used by the thread that runs models; `stop` is set by the thread that keeps the lease."""

    def __init__(self, job: Job, kind: JobKind, interrupted: threading.Event | None = None) -> None:
        self.job = job
        self.kind = kind
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = list(job.warnings)  # those that the submission knew
        self.resolved = False
        self.cancel_asked = threading.Event()
        self.interrupted = interrupted or threading.Event()  # the worker must stop: hand the job back
        self.last_activity = time.monotonic()
        self.at = 0, 0
        """The last step that was told, and of how many."""
        self._last_emit = 0.0
        if job.started_at is not None:
            self.timings["queue"] = round((job.started_at - job.created_at).total_seconds(), 4)

    @property
    def id(self) -> uuid.UUID:
        return self.job.id

    @property
    def params(self) -> dict[str, Any]:
        return self.job.params

    @property
    def owner_key(self) -> str:
        return self.job.owner_key

    @property
    def attempt(self) -> int:
        return self.job.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the work should stop: its cancellation was asked for, the worker must end, or the lease is lost."""
        return self.cancel_asked.is_set() or self.interrupted.is_set() or self.resolved

    def raise_if_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled

    def progress(self, *, step: int, steps: int, preview: bytes | None = None, stage: str = "") -> None:
        """Step `step` of `steps` is done. Told to watchers at most every 50 ms, the last step always."""
        self.last_activity = time.monotonic()
        self.at = step, steps
        if preview is None and step < steps and self.last_activity - self._last_emit < COALESCE_SECONDS:
            return
        self._last_emit = self.last_activity
        progress: dict[str, float | str] = {"fraction": round(step / steps, 4), "step": step, "steps": steps}
        if stage:
            progress["stage"] = stage
        if preview is None:
            self.emit("progress", progress, progress=progress)
        else:
            self.emit("preview", {**progress, "preview": as_data_url(preview)}, progress=progress)

    def emit(self, type: str, data: dict[str, Any], *, progress: dict[str, Any] | None = None) -> None:
        """An event for those who watch. A lost lease stops the work; a database that is busy only costs this event."""
        self.last_activity = time.monotonic()
        if self.resolved:
            return
        try:
            lifecycle.emit_event(job=self.job, type=type, data=data, progress=progress)
        except LeaseLost:
            self.abandon()
        except CONNECTION_ERRORS:
            log.warning("An event of job %s was not recorded", self.id, exc_info=True)
            connection.close()

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to `timings[name]`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add_time(name, time.monotonic() - started)

    def add_time(self, name: str, seconds: float) -> None:
        self.last_activity = time.monotonic()
        self.timings[name] = round(self.timings.get(name, 0.0) + seconds, 4)

    def finish(self, output: Any) -> None:
        """running → succeeded, with the rows of `output`; thrown away where the job is no longer ours."""
        try:
            self._record(output)
        except (LeaseLost, *CONNECTION_ERRORS) as error:
            self._discard_unless_recorded(output)
            if not isinstance(error, LeaseLost):
                raise
        except BaseException:
            self.kind.discard(output)
            raise
        self.resolved = True

    def _record(self, output: Any) -> None:
        told: dict[str, Any] = {"warnings": self.warnings, "timings": self.timings}
        for delay in (*FINISH_RETRIES, None):
            self.last_activity = time.monotonic()
            try:
                if self.kind.makes_rows:
                    return lifecycle.finish_job(job=self.job, record=lambda job: self.kind.record(job, output), **told)
                return lifecycle.finish_job(job=self.job, result=self.kind.record(self.job, output), **told)
            except CONNECTION_ERRORS:
                if delay is None:
                    raise
                log.warning("The result of job %s could not be written; trying again", self.id, exc_info=True)
                connection.close()
                time.sleep(delay)

    def _discard_unless_recorded(self, output: Any) -> None:
        """A commit whose answer was lost on its way may have happened: what the row has stays on disk, and so does it in doubt."""
        try:
            if lifecycle.is_recorded(self.job):
                return
        except CONNECTION_ERRORS:
            log.warning("Whether job %s was recorded isn't known; the sweep of orphans will see", self.id)
            return
        log.warning("Job %s was taken over or cancelled; this result is thrown away", self.id)
        self.kind.discard(output)

    def fail(self, error: DarkroomError) -> None:
        self._resolve(lambda: lifecycle.fail_job(job=self.job, error=error, warnings=self.warnings, timings=self.timings))
        log.info("Job %s failed: %s: %s", self.id, error.code, error.detail)

    def stop(self) -> None:
        """The work has stopped before its end: cancelled where that was asked for, else handed back."""
        if self.cancel_asked.is_set():
            self._resolve(lambda: lifecycle.acknowledge_cancel(job=self.job))
        else:
            reason = "The worker was told to stop"
            self._resolve(lambda: lifecycle.hand_back(job=self.job, reason=reason, blameless=True))

    def abandon(self) -> None:
        """The row is somebody else's by now: nothing of this attempt may be written."""
        self.resolved = True

    def _resolve(self, write: Any) -> None:
        if self.resolved:
            return
        self.resolved = True
        try:
            write()
        except LeaseLost:
            log.warning("Job %s was no longer ours to end", self.id)
