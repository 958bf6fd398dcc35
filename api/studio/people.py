"""Who is in front of a page, as its templates show it."""

from dataclasses import dataclass

from django.http import HttpRequest

from api.access.principals import LOCAL, Principal
from api.access.scopes import SUBMIT


@dataclass(frozen=True)
class Person:
    principal: Principal
    may_use_admin: bool
    """Is logged in with an account there; or is this machine itself, whose owner has one."""

    @property
    def name(self) -> str:
        return self.principal.name or self.principal.owner_key

    @property
    def owner_key(self) -> str:
        return self.principal.owner_key

    @property
    def may_submit(self) -> bool:
        return self.principal.may(SUBMIT)

    @property
    def may_log_out(self) -> bool:
        """Not this machine itself, which never logged in."""
        return self.principal != LOCAL


def greet(request: HttpRequest, principal: Principal) -> None:
    """Remembers for the templates who the request comes from."""
    request.studio_person = Person(principal, principal == LOCAL or uses_admin(request))  # type: ignore[attr-defined]


def uses_admin(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(getattr(user, "is_staff", False) and getattr(user, "is_active", False))


def person_of(request: HttpRequest | None) -> Person | None:
    """None on pages for strangers."""
    return getattr(request, "studio_person", None)
