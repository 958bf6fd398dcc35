"""How long a worker has had something to do, and how many jobs at once."""

import threading
import time

from api.metric_definitions import busy_seconds, occupied_seconds


class Occupancy:
    """Told of each change by the thread that works, and by the lease keeper so that long work counts while it goes on."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs, self.since = 0, time.monotonic()

    def change(self, jobs: int) -> None:
        """So many are at hand from now on."""
        with self.lock:
            self.count()
            self.jobs = jobs

    def tick(self) -> None:
        with self.lock:
            self.count()

    def count(self) -> None:
        now = time.monotonic()
        seconds, self.since = now - self.since, now
        if self.jobs:
            busy_seconds.add(by=seconds)
            occupied_seconds.add(by=seconds * self.jobs)
