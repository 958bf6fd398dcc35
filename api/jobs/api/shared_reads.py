"""Streams whose jobs have moved at the same time are read together: one thread, one connection and one statement for all of them.

Each by itself would take three queries and a thread's turn for every event; one worker's step moves the jobs of many.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from weakref import WeakKeyDictionary

from api.jobs.api.database_calls import in_thread
from api.jobs.store.unread_events import Position, Unread, read_unread

AT_ONCE = 64
"""Streams that are read together."""
READERS = 2
"""While one encodes, another asks the database."""

Chunks = list[bytes]
T = TypeVar("T")


class Readable(Protocol):
    def begin_once(self) -> Position: ...

    def take(self, unread: Unread) -> Chunks: ...


def read_all(streams: Sequence[Readable]) -> list[Chunks | Exception]:
    """Of each what is new, or what went wrong with it. Raises what the database raises."""
    asked = [attempt(stream.begin_once) for stream in streams]
    found = read_unread([known for known in asked if not isinstance(known, Exception)])
    return [
        known if isinstance(known, Exception) else attempt(lambda stream=stream, known=known: stream.take(found[known]))  # type: ignore[misc]
        for stream, known in zip(streams, asked, strict=True)
    ]


def attempt(call: Callable[[], T]) -> T | Exception:
    try:
        return call()
    except Exception as error:
        return error


class SharedReads:
    """Of one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Readable, asyncio.Future[Chunks]]] = []
        self.readers: set[asyncio.Task[None]] = set()

    async def read(self, stream: Readable) -> Chunks:
        answer: asyncio.Future[Chunks] = asyncio.get_running_loop().create_future()
        self.waiting.append((stream, answer))
        if len(self.readers) < READERS:
            self.readers.add(asyncio.create_task(self.read_until_none_waits()))
        return await answer

    async def read_until_none_waits(self) -> None:
        """It counts as a reader no longer in the moment in which it finds nothing: who comes then starts another."""
        try:
            await self.read_waiting()
        finally:
            self.readers.discard(asyncio.current_task())

    async def read_waiting(self) -> None:
        while self.waiting:
            taken, self.waiting = self.waiting[:AT_ONCE], self.waiting[AT_ONCE:]
            for (_, answer), chunks in zip(taken, await self.read_together([stream for stream, _ in taken]), strict=True):
                if answer.done():
                    continue  # its client has gone
                if isinstance(chunks, Exception):
                    answer.set_exception(chunks)
                else:
                    answer.set_result(chunks)

    async def read_together(self, streams: Sequence[Readable]) -> list[Chunks | Exception]:
        try:
            return await in_thread(read_all, streams)
        except Exception as error:
            return [error for _ in streams]


_of_loops: "WeakKeyDictionary[asyncio.AbstractEventLoop, SharedReads]" = WeakKeyDictionary()


def shared_reads() -> SharedReads:
    return _of_loops.setdefault(asyncio.get_running_loop(), SharedReads())
