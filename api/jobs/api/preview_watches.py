"""One thread in each process tells the workers, through the database, whose previews its open streams show."""

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from api.jobs.api.database_calls import give_back_connection
from api.jobs.api.only_thread import OnlyThread
from api.jobs.store.preview_watches import extend_watches
from api.outages import outage_of

log = logging.getLogger("darkroom.jobs")
REPEAT_SECONDS = 2.0


class WatchReporter(threading.Thread):
    """Not the event hub's thread: that one only reads, and nobody who waits is held up by a write."""

    def __init__(self) -> None:
        super().__init__(name="preview-watches", daemon=True)
        self.lock = threading.Lock()
        self.streams: Counter[uuid.UUID] = Counter()  # how many there are of each job
        self.wanted = threading.Event()
        self.added = threading.Event()

    def add(self, job_id: uuid.UUID) -> None:
        with self.lock:
            self.streams[job_id] += 1
        self.added.set()
        self.wanted.set()

    def remove(self, job_id: uuid.UUID) -> None:
        with self.lock:
            self.streams -= Counter([job_id])
            if not self.streams:
                self.wanted.clear()

    def run(self) -> None:
        while True:
            self.wanted.wait()
            self.added.clear()
            with self.lock:
                job_ids = list(self.streams)
            self.tell(job_ids)
            self.added.wait(REPEAT_SECONDS)

    def tell(self, job_ids: list[uuid.UUID]) -> None:
        try:
            extend_watches(job_ids)
        except Exception as error:  # whatever it was: without this thread nobody would see a preview any more
            known = outage_of(error)
            log.warning("Who watches previews was not recorded (%s)", known or error, exc_info=not known)
            connection.close()
        finally:
            give_back_connection()


_reporter = OnlyThread(WatchReporter)


def get_reporter() -> WatchReporter:
    return _reporter.get()


@contextmanager
def watch_previews(job_id: uuid.UUID) -> Iterator[None]:
    """Within it the worker that has the job, or gets it, makes previews."""
    reporter = get_reporter()
    reporter.add(job_id)
    try:
        yield
    finally:
        reporter.remove(job_id)
