"""How a job ends badly, in words that a client may read."""

from django.db import InterfaceError, OperationalError

# The database is away, busy or restarted: what was tried may be tried again. (InterfaceError is no DatabaseError in Django.)
CONNECTION_ERRORS = (OperationalError, InterfaceError)


class JobError(Exception):
    """An expected failure: `code` for programs, `status` the HTTP status of the reply, `detail` a sentence for people.

    Anything else that a handler raises becomes `internal_error` (500), and only the log has its text.
    """

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(detail)
        self.code, self.status, self.detail = code, status, detail

    def as_json(self) -> dict[str, str | int]:
        return {"code": self.code, "status": self.status, "detail": self.detail}


class JobCancelled(Exception):
    """Raised at a step or token of a job whose cancellation was asked for."""


class LeaseLost(Exception):
    """The row belongs to another attempt by now: what this one made must be thrown away."""


class WorkerFault(Exception):
    """The device can't be trusted any more (a CUDA fault): the worker process must end and be started anew."""
