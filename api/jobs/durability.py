"""Commits that need not wait for the disk: those whose loss in a power cut is made good by itself.

A claim that is lost leaves its job queued, a step that is lost is followed by another. What a client was told (accepted, ended) is
never written this way. A killed process loses nothing either way: what is committed is with the database or the kernel.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def atomic_without_sync() -> Iterator[None]:
    """`transaction.atomic()` whose commit returns before it has reached the disk. Inside another transaction, a part of that.

    For SQLite: on PostgreSQL each such change is one statement (sql.change), which says so itself and needs no transaction.
    """
    if connection.vendor == "postgresql":
        yield
    elif connection.in_atomic_block:
        with transaction.atomic():
            yield
    else:
        with sqlite_synchronous("NORMAL"), transaction.atomic():
            yield


@contextmanager
def sqlite_synchronous(level: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA synchronous={level}")
    try:
        yield
    finally:
        if connection.connection is not None:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA synchronous=FULL")
