"""What running jobs tell their watchers: progress by a thread of its own, so that the thread that runs models never waits for it.

That thread posts values; of each job the newest waits here, and all that wait are written in one transaction, at most every
INTERVAL_SECONDS. Where no stream shows any of them, every UNWATCHED_SECONDS: on a CPU each transaction takes a core from the model
for some milliseconds. Not the lease keeper's thread: a sweep or a database that is slow would hold progress up, and progress a
heartbeat.
"""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from django.db import close_old_connections, connection

from api.jobs import lifecycle
from api.jobs.errors import CONNECTION_ERRORS, LeaseLost
from api.jobs.running import ProgressReport, RunningJob
from api.jobs.store.preview_watches import watched_among
from api.jobs.store.progress import attempt_of

log = logging.getLogger("darkroom.jobs")
Running = RunningJob[Any]
INTERVAL_SECONDS = 0.1
UNWATCHED_SECONDS = 0.5
IDLE_SECONDS = 1.0
LOOK_SECONDS = 0.25  # how often it looks whose previews are watched, while jobs run


class ProgressPublisher(threading.Thread):
    """`post`, `emit`, `flush` and `hold` are called by the threads that work; see `api.jobs.running.Reporter` for the first three.

    A job's end is written behind `flush`, and the row's lease holds back whatever would come later.
    """

    def __init__(self) -> None:
        super().__init__(name="progress-publisher", daemon=True)
        self.ended = False
        self.runs: Sequence[Running] = ()
        self.waiting: dict[Running, ProgressReport] = {}
        self.lock = threading.Lock()  # of `waiting`
        self.writing = threading.Lock()  # from taking reports until they are committed: older ones can't overtake newer ones
        self.begun: frozenset[Running] = frozenset()  # those of `runs` whose first report was published
        self.posted, self.urgent = threading.Event(), threading.Event()
        self.last_publication = self.next_look = 0.0

    def hold(self, runs: Sequence[Running]) -> None:
        self.runs = runs

    def post(self, running: Running, report: ProgressReport) -> None:
        with self.lock:
            self.waiting[running] = report.after(self.waiting.get(running))
        self.posted.set()
        if running not in self.begun:
            self.urgent.set()

    def take(self, running: Running) -> ProgressReport | None:
        with self.lock:
            return self.waiting.pop(running, None)

    def take_all(self) -> dict[Running, ProgressReport]:
        with self.lock:
            taken, self.waiting = self.waiting, {}
        return {running: report for running, report in taken.items() if not running.ended}

    def put_back(self, running: Running, report: ProgressReport) -> None:
        with self.lock:
            newer = self.waiting.get(running)
            self.waiting[running] = newer.after(report) if newer else report

    # ---------------------------------------------------------------- in the thread that works

    def emit(self, running: Running, type: str, data: dict[str, Any]) -> None:
        self.flush(running)
        emit_quietly(running, type, data)

    def flush(self, running: Running) -> None:
        if running not in self.waiting and not self.writing.locked():
            return  # the usual case: no need to take turns with a publication
        with self.writing:
            report = self.take(running)
            if report is not None:
                emit_quietly(running, *report.event, progress=report.progress)

    # ---------------------------------------------------------------- in its own

    def run(self) -> None:
        while not self.ended:
            if not self.posted.wait(LOOK_SECONDS if self.runs else IDLE_SECONDS) and not self.runs:
                close_old_connections()
            self.urgent.wait(max(0.0, min(self.next_publication, self.next_look) - time.monotonic()))
            self.turn(publishing=self.urgent.is_set() or time.monotonic() >= self.next_publication)
        self.turn()
        connection.close()

    def stop(self) -> None:
        """What was posted is published first."""
        self.ended = True
        self.posted.set()
        self.urgent.set()

    @property
    def next_publication(self) -> float:
        is_watched = any(running.watched for running in self.runs)
        return self.last_publication + (INTERVAL_SECONDS if is_watched else UNWATCHED_SECONDS)

    def turn(self, *, publishing: bool = True) -> None:
        try:
            if publishing:
                self.publish()
            self.look_who_watches()
        except CONNECTION_ERRORS:
            log.warning("The database didn't answer; some progress was not recorded", exc_info=True)
            connection.close()
        except Exception:  # whatever it was: a worker without this thread would tell nobody how far it is
            log.exception("Some progress was not recorded")
            connection.close()

    def publish(self) -> None:
        with self.writing:
            self.posted.clear()
            self.urgent.clear()
            reports = self.take_all()
            if not reports:
                return
            self.last_publication = time.monotonic()
            if not self.begun.issuperset(reports):
                self.next_look = 0.0
            self.begun = frozenset({*self.runs, *reports} & {*self.begun, *reports})
            recorded = lifecycle.record_progress(
                [(running.job, report.progress, report.event) for running, report in reports.items()]
            )
        for running, report in reports.items():
            if attempt_of(running.job) in recorded.lost:
                running.ended = True  # nothing of this attempt may be written any more
            elif attempt_of(running.job) in recorded.busy:
                self.put_back(running, report)

    def look_who_watches(self) -> None:
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + LOOK_SECONDS
        runs = [running for running in self.runs if not running.ended]
        watched = watched_among([running.id for running in runs]) if runs else set()
        for running in runs:
            running.watched = running.id in watched


def emit_quietly(running: Running, type: str, data: dict[str, Any], *, progress: dict[str, Any] | None = None) -> None:
    """An event of a running job. A lost lease ends the attempt; a database that is busy only costs this event."""
    try:
        lifecycle.emit_event(job=running.job, type=type, data=data, progress=progress)
    except LeaseLost:
        running.ended = True  # nothing of this attempt may be written any more
    except CONNECTION_ERRORS:
        log.warning("An event of job %s was not recorded", running.id, exc_info=True)
        connection.close()
