"""One thread in each process hears notifications and asks the database once about all jobs that anybody waits for.

It calls those whose job has moved. What tells of steps alone is nothing to those who wait for an end.
"""

import logging
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from api.jobs.api.database_calls import give_back_connection
from api.jobs.api.only_thread import OnlyThread
from api.jobs.notify.channels import Heard, drain, subscribe
from api.jobs.states import FINAL
from api.jobs.store import transitions
from api.outages import outage_of

log = logging.getLogger("darkroom.jobs")
FALLBACK_SECONDS = 1.0  # what a lost notification costs
LONGEST_REST_SECONDS = 0.05


class Watch:
    """One waiter's interest in one job: in whatever happens to it, or in its end alone. `notify` is called in the hub's thread."""

    def __init__(self, job_id: uuid.UUID, notify: Callable[[], object], *, end_only: bool) -> None:
        self.job_id, self.notify, self.end_only = job_id, notify, end_only
        self.seen = -1

    def update(self, sequence: int, status: str | None) -> None:
        """None: the job was deleted."""
        if sequence != self.seen and (not self.end_only or status is None or status in FINAL):
            self.seen = sequence
            self.notify()


class EventHub(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="event-hub", daemon=True)
        self.lock = threading.Lock()
        self.watches: dict[uuid.UUID, set[Watch]] = defaultdict(set)
        self.wanted = threading.Event()
        self.looked_at = 0.0
        self.heard_at = float("inf")
        """When it last heard of anything but steps. What happens later is heard later; before it listens, nothing is."""
        self.poked, self.poke = socket.socketpair()  # whoever begins to watch is told at once how the job stands
        self.poked.setblocking(False)
        self.poke.setblocking(False)

    def add(self, watch: Watch, since: float | None = None) -> None:
        """`since`: when its job had not ended yet, for sure. Where nothing was heard after that, it needn't be looked up."""
        with self.lock:
            self.watches[watch.job_id].add(watch)
            is_known = since is not None and self.heard_at < since
        self.wanted.set()
        if not is_known:
            self.look_soon()

    def look_soon(self) -> None:
        try:
            self.poke.send(b"!")
        except BlockingIOError:
            pass  # it has been told often enough

    def remove(self, watch: Watch) -> None:
        with self.lock:
            self.watches[watch.job_id].discard(watch)
            if not self.watches[watch.job_id]:
                del self.watches[watch.job_id]

    def run(self) -> None:
        subscription = subscribe("web")
        self.heard_at = time.monotonic()
        while True:
            self.wanted.wait()
            try:
                heard = subscription.wait(FALLBACK_SECONDS, self.poked)
                if self.must_look(heard, is_poked=bool(drain(self.poked))):
                    self.update_and_rest()
            except Exception as error:  # whatever it was: without this thread everybody would wait in vain
                known = outage_of(error)
                log.warning("The event hub stumbled (%s); those who wait go on waiting", known or error, exc_info=not known)
                time.sleep(FALLBACK_SECONDS)
                connection.close()
            if not self.wanted.is_set():
                give_back_connection()  # not after each look: the next one comes soon, and to get one takes half as long

    def must_look(self, heard: Heard, *, is_poked: bool) -> bool:
        """Also after a while in which it heard of steps alone: another notification may have been lost."""
        with self.lock:
            if heard == Heard.ANYTHING:
                self.heard_at = time.monotonic()  # before the watches are listed: who comes later asks to be looked up
            if heard != Heard.STEP or is_poked or time.monotonic() - self.looked_at >= FALLBACK_SECONDS:
                return True
            return any(not watch.end_only for group in self.watches.values() for watch in group)

    def update_and_rest(self) -> None:
        """A rest after looking, so that what is told meanwhile is one look: its time grows with the jobs that are watched."""
        self.looked_at = time.monotonic()
        self.update_all()
        time.sleep(min(LONGEST_REST_SECONDS, 2 * (time.monotonic() - self.looked_at)))

    def update_all(self) -> None:
        with self.lock:
            watches = [watch for group in self.watches.values() for watch in group]
            if not watches:
                return self.wanted.clear()
        standing = transitions.statuses_by_id([watch.job_id for watch in watches])
        for watch in watches:
            watch.update(*standing.get(watch.job_id, (-2, None)))


_hub = OnlyThread(EventHub)


def get_hub() -> EventHub:
    return _hub.get()


@contextmanager
def watch_job(
    job_id: uuid.UUID, notify: Callable[[], object], *, end_only: bool = False, since: float | None = None
) -> Iterator[None]:
    """Within it `notify` is called, in the hub's thread, at once and whenever the job has moved; with `end_only` when it has ended.

    `since`: see EventHub.add; with `end_only` alone.
    """
    hub, watch = get_hub(), Watch(job_id, notify, end_only=end_only)
    hub.add(watch, since if end_only else None)
    try:
        yield
    finally:
        hub.remove(watch)
