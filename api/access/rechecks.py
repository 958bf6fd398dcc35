"""Who a request comes from by now: an answer that goes on for long asks again whether its key, its account or its session still holds."""

from copy import copy

from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from api.access.principals import Principal, principal_of

RECHECK_SECONDS = 5.0


def principal_now(request: HttpRequest, *, scope: str) -> Principal:
    """Raises what `principal_of` raises. The session and its account are read anew: those of the request are as they were."""
    again = copy(request)
    session = getattr(request, "session", None)
    if session is not None:
        again.session = type(session)(session.session_key)
        again.user = SimpleLazyObject(lambda: get_user(again))  # type: ignore[assignment]
    return principal_of(again, scope=scope)
