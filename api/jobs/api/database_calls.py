"""Calls that ask the database, made from coroutines: in a thread of the pool, which gives its connection back at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from django.db import connection

from api.outages import is_away

P = ParamSpec("P")
T = TypeVar("T")
RETRY_SECONDS = 1.0
OUTAGE_SECONDS = 60.0  # a database that restarts is back by then


def call_and_close(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread of the pool, and give the database connection back."""
    try:
        return function(*args, **kwargs)
    finally:
        give_back_connection()


def give_back_connection() -> None:
    """To PostgreSQL's pool. On SQLite it stays with its thread, of which there are few: opening a file anew costs more than the query."""
    if connection.vendor == "sqlite":
        if connection.errors_occurred:
            connection.close()
    else:
        connection.close()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(lambda: call_and_close(function, *args, **kwargs))


async def in_thread_when_back(function: Callable[[], T], *, seconds: float = OUTAGE_SECONDS) -> T:
    return await when_back(lambda: in_thread(function), seconds=seconds)


async def when_back(ask: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """For up to `seconds` again and again while the database is away: its job was accepted, so its client goes on waiting."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await ask()
        except Exception as error:
            if not is_away(error) or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)
