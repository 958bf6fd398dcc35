"""What a principal is, and what it may do. No database here."""

import uuid
from dataclasses import dataclass
from typing import ClassVar

READ, SUBMIT, STAFF = "read", "submit", "staff"
SCOPES = (READ, SUBMIT, STAFF)


@dataclass(frozen=True)
class Principal:
    """Who a request comes from, whichever way it proved that.

    `owner_key` is what its jobs and files are marked with; `key_id` is None for this machine itself and for a logged-in person.
    `max_active_jobs` is the key's own quota, None for the server's general one.
    """

    owner_key: str
    scopes: frozenset[str]
    key_id: uuid.UUID | None = None
    max_active_jobs: int | None = None

    # What Django and DRF ask of request.user.
    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_active: ClassVar[bool] = True

    @property
    def is_staff(self) -> bool:
        return STAFF in self.scopes

    def may(self, scope: str) -> bool:
        return scope in self.scopes or self.is_staff


LOCAL = Principal("local", frozenset(SCOPES))
