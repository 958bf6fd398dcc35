"""Commits that need not wait for the disk: those whose loss in a power cut is made good by itself.

A claim that is lost leaves its job queued, a step that is lost is followed by another. What a client was told (accepted, ended) is
never written this way. A killed process loses nothing either way: what is committed is with the database or the kernel.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from api.jobs.store.statements import is_postgres, run


@contextmanager
def atomic_change() -> Iterator[None]:
    """Around one of sql.py's changes: `transaction.atomic()`, but for PostgreSQL, where a change is one statement and needs none."""
    if is_postgres():
        yield
    else:
        with transaction.atomic():
            yield


@contextmanager
def atomic_without_sync() -> Iterator[None]:
    """`atomic_change` whose commit returns before it has reached the disk; on PostgreSQL the statement says so itself (sql.change).

    Inside another transaction, a part of that.
    """
    if is_postgres() or connection.in_atomic_block:
        with atomic_change():
            yield
    else:
        with sqlite_synchronous("NORMAL"), atomic_change():
            yield


@contextmanager
def sqlite_synchronous(level: str) -> Iterator[None]:
    run(f"PRAGMA synchronous={level}")
    try:
        yield
    finally:
        if connection.connection is not None:
            run("PRAGMA synchronous=FULL")
