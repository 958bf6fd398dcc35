"""A job's events as Server-Sent Events, for every API alike: this server's own, the pages', and those of the dialects.

The events are in the database, so a stream outlives a worker, and a database that restarts; a client may leave and come back.
"""

import asyncio
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Self, TypeVar

from django.http import HttpRequest, StreamingHttpResponse
from rest_framework.exceptions import APIException

from api.access.principals import Principal, visible_to
from api.access.rechecks import RECHECK_SECONDS, principal_now
from api.jobs.api.database_calls import call_and_close, in_thread, when_back
from api.jobs.api.event_hub import watch_job
from api.jobs.api.preview_watches import watch_previews
from api.jobs.api.shared_reads import shared_reads
from api.jobs.api.waiting import setter
from api.jobs.models import Job, JobEvent
from api.jobs.states import FINAL, Status
from api.jobs.store.unread_events import Position, Unread
from api.outages import is_away
from config.stopping import stopping

T = TypeVar("T")
SILENCE_SECONDS = 15.0
KEEP_ALIVE = b": still here\n\n"
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class JobStream(ABC):
    """One job's events as one client reads them. A subclass says what they look like.

    `begin`, `encode` and `finish` run in a thread and may ask the database; they do so before they change anything of their own, for
    they are called again where the database was away. `after`: the number of the last event that was read.
    """

    shows_previews = False
    """Whether its client sees them. Workers make none of a job for which no such stream is open."""

    def __init__(self, job_id: uuid.UUID, after: int = 0) -> None:
        self.job_id, self.after = job_id, after
        self.status: str | None = Status.QUEUED  # when it was last read; None: the job was deleted
        self.ended = False
        self.interrupted = False
        self._begun = False
        self._unsent: list[bytes] = []
        self._let_in: Principal | None = None
        """For whom it is known that the job is theirs to see: that never changes."""
        self._access: tuple[HttpRequest, str] | None = None

    def for_request(self, request: HttpRequest, scope: str) -> Self:
        """It ends soon after what let this request in does not any more: a key that is revoked, an account, a session."""
        self._access = request, scope
        return self

    def may_go_on(self) -> bool:
        if self._access is None:
            return True
        request, scope = self._access
        try:
            principal = principal_now(request, scope=scope)
        except APIException:
            return False
        if principal == self._let_in:
            return True
        self._let_in = principal
        jobs = Job.objects.filter(pk=self.job_id)
        return visible_to(principal, jobs).exists() or not jobs.exists()

    def begin(self) -> Iterable[bytes]:
        return ()

    @abstractmethod
    def encode(self, event: JobEvent) -> Iterable[bytes]:
        """Nothing of an event that this client is not told. One that sets `ended` is the last."""

    def finish(self) -> Iterable[bytes]:
        """Behind the last event, once the job has ended or was deleted; not where `ended` was set."""
        return ()

    def interrupt(self) -> Iterable[bytes]:
        """Where this process must stop before the job has ended. Nothing, where its client comes back with the last event's number."""
        return ()

    @property
    def is_over(self) -> bool:
        return self.ended or self.status is None or self.status in FINAL

    def begin_once(self) -> Position:
        if not self._begun:
            self._unsent += list(self.begin())
            self._begun = True
        return self.job_id, self.after

    def take(self, unread: Unread) -> list[bytes]:
        """Its client's lines. After an error it can be called again, with the same or more: nothing is lost or told twice."""
        status = unread.status
        for event in unread.events:
            if event.sequence <= self.after:
                continue  # it was read before an error
            if event.type == "status":  # it may have changed since the row was read
                status = event.data["status"]
            if not self.ended:
                self._unsent += list(self.encode(event))
            self.after = event.sequence
        if not self.ended and (status is None or status in FINAL):
            self._unsent += list(self.finish())
        self.status = status
        chunks, self._unsent = self._unsent, []
        return chunks

    async def ask(self, question: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """`otherwise` of a database that stays away: the stream goes on."""
        try:
            return await when_back(question, seconds=SILENCE_SECONDS)
        except Exception as error:
            if not is_away(error):
                raise
            return otherwise

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """The client's lines as they come, until the job has ended, and a comment whenever there were none for SILENCE_SECONDS."""
        moved, told_at = asyncio.Event(), time.monotonic()
        checked_at, nothing, wake = told_at, list[bytes](), setter(moved)
        with watch_job(self.job_id, wake), stopping.waking(wake), ExitStack() as watching:
            is_first = True
            while True:
                moved.clear()
                if time.monotonic() >= checked_at + RECHECK_SECONDS:
                    if not await self.ask(partial(in_thread, self.may_go_on), otherwise=True):
                        return
                    checked_at = time.monotonic()
                for chunk in await self.ask(partial(shared_reads().read, self), otherwise=nothing):
                    yield chunk
                    told_at = time.monotonic()
                if self.is_over:
                    return
                if stopping.waits_are_over:
                    self.interrupted = True
                    for chunk in self.interrupt():
                        yield chunk
                    return
                if is_first and self.shows_previews:
                    watching.enter_context(watch_previews(self.job_id))
                is_first = False
                try:
                    async with asyncio.timeout(min(told_at + SILENCE_SECONDS, checked_at + RECHECK_SECONDS) - time.monotonic()):
                        await moved.wait()
                except TimeoutError:
                    if time.monotonic() >= told_at + SILENCE_SECONDS:
                        yield KEEP_ALIVE
                        told_at = time.monotonic()


class StreamResponse(StreamingHttpResponse):
    """Closing it before the stream's end calls `leave`. The server closes it, whatever became of the client."""

    def __init__(
        self, stream: JobStream, chunks: AsyncIterator[bytes] | None = None, leave: Callable[[], None] | None = None
    ) -> None:
        super().__init__(chunks or stream.follow(), headers=HEADERS)
        self.stream, self.leave = stream, leave

    def close(self) -> None:
        super().close()
        if self.leave is not None and (self.stream.interrupted or not self.stream.is_over):
            call_and_close(self.leave)
