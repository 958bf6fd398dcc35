"""One process at a time changes the tables: several that start at once (containers of a web server, most often) would each make them."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection

POSTGRES_LOCK = 0x6461726B726F6F6D
"""A number for pg_advisory_lock that nothing else of this server's uses."""
LOOK_SECONDS = 0.5


@contextmanager
def migration_lock() -> Iterator[None]:
    """Waits for its turn, as long as that takes. A process that dies gives its lock back."""
    with postgres_lock() if connection.vendor == "postgresql" else file_lock():
        yield


@contextmanager
def postgres_lock() -> Iterator[None]:
    """On a connection of its own: the lock is the session's, and the pool hands sessions around."""
    import psycopg

    with connection.wrap_database_errors:  # what says in a sentence that the database is away knows Django's errors
        opened = psycopg.connect(**own_connection(), autocommit=True)
    with opened as session:
        while session.execute("SELECT pg_try_advisory_lock(%s)", [POSTGRES_LOCK]).fetchone() != (True,):
            time.sleep(LOOK_SECONDS)  # not pg_advisory_lock: that waits no longer than lock_timeout
        yield


def own_connection() -> dict[str, Any]:
    from config.failures import CONNECTION_WORDS

    return {name: value for name, value in connection.get_connection_params().items() if name in CONNECTION_WORDS}


@contextmanager
def file_lock() -> Iterator[None]:
    with open(settings.DATA_DIR / "migrations.lock", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
