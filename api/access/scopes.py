"""What a principal is, and what it may do. No database here."""

import uuid
from dataclasses import dataclass, field
from typing import ClassVar

from api.quotas import Quota

READ, SUBMIT, STAFF, PRIORITY = "read", "submit", "staff", "priority"
SCOPES = (READ, SUBMIT, STAFF, PRIORITY)
MAX_WEIGHT = 1000


@dataclass(frozen=True)
class OwnerLimits:
    """What an owner may have of the queue."""

    max_active_jobs: int | None = None
    """Queued and running jobs at once; None for the server's general limit."""
    weight: int = 1
    """Its share of the workers beside other owners'."""
    goes_first: bool = False
    """Whether its jobs of a priority above 0 go before the jobs of all other owners."""
    quotas: tuple[Quota, ...] = ()
    """What it may use in a day or a month, and keep."""


GENERAL_LIMITS = OwnerLimits()
"""Of an owner without a key."""


@dataclass(frozen=True)
class Principal:
    """Who a request comes from, whichever way it proved that.

    `owner_key` is what its jobs and files are marked with; `key_id` is None for this machine itself and for a logged-in person.
    """

    owner_key: str
    scopes: frozenset[str]
    key_id: uuid.UUID | None = None
    limits: OwnerLimits = GENERAL_LIMITS
    name: str = field(default="", compare=False)
    """The key's or the account's, for people."""

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
