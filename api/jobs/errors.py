"""How a job ends badly, in words that a client may read."""

from django.db import InterfaceError, OperationalError

# The database is away, busy or restarted: what was tried may be tried again. (InterfaceError is no DatabaseError in Django.)
CONNECTION_ERRORS = (OperationalError, InterfaceError)


class JobCancelled(Exception):
    """Raised at a step or token of a job whose cancellation was asked for."""


class LeaseLost(Exception):
    """The row belongs to another attempt by now: what this one made must be thrown away."""
