"""The one error that a client may see. Every layer raises it; api/problems.py and the dialects render it.  [no Django, no torch]"""

from collections.abc import Mapping


class DarkroomError(Exception):
    """An expected failure: `code` for programs, `status` the HTTP status, `detail` a sentence for people.

    `field` names the request's field that is at fault. Any other exception becomes `internal_error` (500), and only the log has its text.
    """

    def __init__(
        self, code: str, status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.code, self.status, self.detail, self.field, self.headers = code, status, detail, field, dict(headers or {})

    def to_json(self) -> dict[str, str | int]:
        """As a failed job keeps it."""
        return {"code": self.code, "status": self.status, "detail": self.detail}


class DeviceFault(Exception):
    """The device is in an undefined state (a CUDA error that is no shortage of memory): the worker process must end."""


PROGRAM_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a mistake in a capability's code raises, and not what is away, missing or full."""
