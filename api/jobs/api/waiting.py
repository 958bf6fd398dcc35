"""Waiting for a job's end: a coroutine, which holds neither a thread nor a database connection, or a thread."""

import asyncio
import threading
import uuid
from collections.abc import Callable

from api.jobs.api.event_hub import watch_job
from config.stopping import stopping


def setter(event: asyncio.Event) -> Callable[[], None]:
    """What sets the event of a coroutine of this loop, from any thread."""
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            pass  # its loop has ended

    return set_event


async def wait_until_final(job_id: uuid.UUID, seconds: float, *, since: float | None = None) -> bool:
    """Whether the job ended (or was deleted) within `seconds`, and before this process must stop.

    `since`: a moment (monotonic) before the job was submitted, or seen under way; then its first look at the database is spared.
    """
    woken = asyncio.Event()
    wake = setter(woken)
    with watch_job(job_id, wake, end_only=True, since=since), stopping.waking(wake):
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            return False
    return not stopping.waits_are_over


def block_until_final(job_id: uuid.UUID, seconds: float | None) -> bool:
    """The same for Python programs, whose thread it holds. None: however long it takes."""
    ended = threading.Event()
    with watch_job(job_id, ended.set, end_only=True):
        return ended.wait(seconds)
