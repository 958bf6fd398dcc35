"""What interrupts a job's work, for the worker to handle. What a client may read is a DarkroomError (api/errors.py)."""

import sqlite3

from django.db import InterfaceError, OperationalError

# The database is away, busy or restarted: what was tried may be tried again. (InterfaceError is no DatabaseError in Django.)
CONNECTION_ERRORS = (OperationalError, InterfaceError)
FOREIGN_KEY_VIOLATION = "23503"
"""PostgreSQL's SQLSTATE."""


class JobCancelled(Exception):
    """Raised at a step or token of a job whose cancellation was asked for."""


class LeaseLost(Exception):
    """The row belongs to another attempt by now: what this one made must be thrown away."""


def is_foreign_key_missing(error: Exception) -> bool:
    """Whether a row was refused since one that it refers to is no longer there. By the database's code: messages are translated."""
    cause = error.__cause__
    if getattr(cause, "sqlstate", None) == FOREIGN_KEY_VIOLATION:
        return True
    return getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
