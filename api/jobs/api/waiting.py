"""Waiting for a job without holding a thread or a database connection.

One thread in each web process hears notifications and asks the database once about all jobs that anybody waits for; it wakes the coroutines
whose job has moved. Streams read the events that are new to them by (job, sequence), so that a reader can leave and come back.
"""

import asyncio
import logging
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from django.db import connection

from api.jobs.models import Job, JobEvent
from api.jobs.notify.channels import drain, subscribe
from api.jobs.states import FINAL
from api.jobs.store import transitions
from api.outages import is_away, outage_of

log = logging.getLogger("darkroom.jobs")
FALLBACK_SECONDS = 1.0  # what a lost notification costs
OUTAGE_SECONDS = 60.0  # a database that restarts is back by then


class Watch:
    """One coroutine's interest in one job: in whatever happens to it, or in its end alone."""

    def __init__(self, job_id: uuid.UUID, *, end_only: bool = False) -> None:
        self.job_id, self.end_only = job_id, end_only
        self.loop = asyncio.get_running_loop()
        self.moved = asyncio.Event()
        self.seen = -1

    def look(self, sequence: int, status: str | None) -> None:
        """None: the job was deleted."""
        if sequence != self.seen and (not self.end_only or status is None or status in FINAL):
            self.seen = sequence
            try:
                self.loop.call_soon_threadsafe(self.moved.set)
            except RuntimeError:
                pass  # its loop has ended


class EventHub(threading.Thread):
    def __init__(self) -> None:
        super().__init__(name="event-hub", daemon=True)
        self.lock = threading.Lock()
        self.watches: dict[uuid.UUID, set[Watch]] = defaultdict(set)
        self.wanted = threading.Event()
        self.poked, self.poke = socket.socketpair()  # whoever begins to watch is told at once how the job stands
        self.poked.setblocking(False)
        self.poke.setblocking(False)

    def add(self, watch: Watch) -> None:
        with self.lock:
            self.watches[watch.job_id].add(watch)
        self.wanted.set()
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
        while True:
            self.wanted.wait()
            try:
                subscription.wait(FALLBACK_SECONDS, self.poked)
                drain(self.poked)
                self.look_at_all()
            except Exception as error:  # whatever it was: without this thread everybody would wait in vain
                known = outage_of(error)
                log.warning("The event hub stumbled (%s); those who wait go on waiting", known or error, exc_info=not known)
                time.sleep(FALLBACK_SECONDS)
                connection.close()
            finally:
                give_back_connection()

    def look_at_all(self) -> None:
        with self.lock:
            watches = [watch for group in self.watches.values() for watch in group]
            if not watches:
                return self.wanted.clear()
        standing = transitions.statuses_by_id([watch.job_id for watch in watches])
        for watch in watches:
            watch.look(*standing.get(watch.job_id, (-2, None)))


_hub: EventHub | None = None
_starting = threading.Lock()


def get_hub() -> EventHub:
    global _hub
    with _starting:
        if _hub is None or not _hub.is_alive():
            _hub = EventHub()
            _hub.start()
    return _hub


def call_and_close(function: Any, *args: Any) -> Any:
    """Run in a thread of the pool, and give the database connection back."""
    try:
        return function(*args)
    finally:
        give_back_connection()


def give_back_connection() -> None:
    """To PostgreSQL's pool. On SQLite it stays with its thread, of which there are few: opening a file anew costs more than the query."""
    if connection.vendor == "sqlite":
        if connection.errors_occurred:
            connection.close()
    else:
        connection.close()


async def in_thread(function: Any, *args: Any) -> Any:
    return await asyncio.to_thread(call_and_close, function, *args)


async def in_thread_when_back(function: Any, *args: Any, seconds: float = OUTAGE_SECONDS) -> Any:
    """`in_thread`, for up to `seconds` again and again while the database is away: its job was accepted, so its client goes on waiting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await in_thread(function, *args)
        except Exception as error:
            if not is_away(error) or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(FALLBACK_SECONDS)


def is_final(job_id: uuid.UUID) -> bool:
    """Whether the job has ended, or is gone."""
    status = Job.objects.filter(pk=job_id).values_list("status", flat=True).first()
    return status is None or status in FINAL


async def wait_until_final(job_id: uuid.UUID, seconds: float) -> bool:
    """Whether the job ended (or was deleted) within `seconds`."""
    hub, watch = get_hub(), Watch(job_id, end_only=True)
    hub.add(watch)
    try:
        async with asyncio.timeout(seconds):
            return await watch.moved.wait()
    except TimeoutError:
        return False
    finally:
        hub.remove(watch)


def read_events(job_id: uuid.UUID, after: int) -> tuple[list[JobEvent], bool]:
    """Events with a sequence above `after`, and whether the job has ended (read first, so that no last event is missed)."""
    final = is_final(job_id)
    return list(JobEvent.objects.filter(job_id=job_id, sequence__gt=after).order_by("sequence")), final


async def follow_events(job_id: uuid.UUID, after: int, idle_seconds: float) -> AsyncIterator[JobEvent | None]:
    """Events as they come, until the job has ended; None whenever nothing came for `idle_seconds`. Waits for a database that is away."""
    hub, watch = get_hub(), Watch(job_id)
    hub.add(watch)
    try:
        while True:
            try:
                events, final = await in_thread_when_back(read_events, job_id, after, seconds=idle_seconds)
            except Exception as error:
                if not is_away(error):
                    raise
                yield None
                continue
            for event in events:
                after = event.sequence
                yield event
            if final:
                return
            try:
                await asyncio.wait_for(watch.moved.wait(), idle_seconds)
                watch.moved.clear()
            except TimeoutError:
                yield None
    finally:
        hub.remove(watch)
