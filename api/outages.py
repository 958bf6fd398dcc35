"""What is away (503) and what is full (507), known by the error: one place for every surface of the server.

A database that restarts, a disk without room, a process without descriptors: no view and no job has to know these errors. `outage_of`
reads them, and `api.problems` answers for DRF, for Django's own error handler (pages, the admin, async views) and for the ASGI entrance.
"""

import errno
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from django.db import InterfaceError, OperationalError

RETRY_SECONDS = 5
FULL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
AWAY_ERRNO = {errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENOTCONN, errno.EHOSTDOWN}
BUSY_ERRNO = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}
POSTGRES_FULL = {"53100"}
POSTGRES_AWAY_CLASSES = {"08", "53", "57"}  # connection lost, out of resources, operator intervention (a restart, a timeout)
POSTGRES_AWAY = {"25P03", "40001", "40P01", "55P03"}  # idle too long in a transaction, serialization, deadlock, lock timeout
SQLITE_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}  # the second: no room for the index of the WAL
SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
}
NO_THREAD = "can't start new thread"


@dataclass(frozen=True)
class Outage:
    code: str
    status: int
    detail: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(RETRY_SECONDS)} if self.status == 503 else {}


NO_DATABASE = Outage("no_database", 503, "The database does not answer. Try again in a moment.")
NO_STORAGE = Outage("no_storage", 503, "The server's storage does not answer. Try again in a moment.")
STORAGE_REFUSED = Outage(
    "storage_refused",
    503,
    "The server is not let into its storage of pictures. Its owner has to see to that: `manage.py doctor` says what is wrong.",
)
OVERLOADED = Outage("overloaded", 503, "The server has more to do than it can hold. Try again in a moment.")
DISK_FULL = Outage("disk_full", 507, "The server's disk is full. Its owner has to free some space.")


class StorageRefused(OSError):
    """A storage that answers and lets nobody in as it is set up; the message is for the owner."""


def outage_of(error: BaseException | None) -> Outage | None:
    """What is away or full according to an error, or to one that it was raised from; None for any other error."""
    return next((outage for each in chain(error) if (outage := classify(each))), None)


def is_away(error: BaseException) -> bool:
    """Whether the same may work in a moment."""
    outage = outage_of(error)
    return outage is not None and outage.status == 503


def is_disk_full(error: BaseException) -> bool:
    """Whether a disk has no room: for a file, or for the database."""
    return outage_of(error) == DISK_FULL


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def classify(error: BaseException) -> Outage | None:
    if isinstance(error, StorageRefused):
        return STORAGE_REFUSED
    if isinstance(error, OSError):
        return by_errno(error.errno)
    if isinstance(error, psycopg.Error):
        return by_sqlstate(error)
    if isinstance(error, sqlite3.Error):
        return by_sqlite_code(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR))
    if isinstance(error, OperationalError | InterfaceError) and error.__cause__ is None:
        return NO_DATABASE
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == NO_THREAD):
        return OVERLOADED
    return None


def by_errno(number: int | None) -> Outage | None:
    if number in FULL_ERRNO:
        return DISK_FULL
    if number in BUSY_ERRNO:
        return OVERLOADED
    return NO_STORAGE if number in AWAY_ERRNO else None


def by_sqlstate(error: psycopg.Error) -> Outage | None:
    """Without a state the server was never asked, or the connection (or the pool's wait for one) has ended."""
    state = error.sqlstate
    if state is None:
        return NO_DATABASE if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else None
    if state in POSTGRES_FULL:
        return DISK_FULL
    return NO_DATABASE if state in POSTGRES_AWAY or state[:2] in POSTGRES_AWAY_CLASSES else None


def by_sqlite_code(code: int) -> Outage | None:
    if code in SQLITE_FULL or code & 0xFF in SQLITE_FULL:
        return DISK_FULL
    return NO_DATABASE if code & 0xFF in SQLITE_AWAY else None
