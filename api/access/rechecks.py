"""Who a request comes from by now: an answer that goes on for long asks again whether its key, its account or its session still holds."""

import time
from copy import copy

from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from api.access.principals import Principal, principal_of

RECHECK_SECONDS = 5.0
SHARED_SECONDS = 1.0
"""How long an answer is good for other requests with the same credentials: hundreds of streams of one key are one question."""
MOST_KNOWN = 1000
BESIDE = ("HTTP_LAST_EVENT_ID", "HTTP_X_REQUEST_ID", "HTTP_REFERER", "HTTP_USER_AGENT")
"""Headers that say nothing of who asks."""

_known: dict[tuple[object, ...], tuple[Principal, float]] = {}


def principal_now(request: HttpRequest, *, scope: str) -> Principal:
    """Raises what `principal_of` raises. Requests with the same credentials are asked about once a second."""
    name = (scope, *credentials_of(request))
    principal, asked_at = _known.get(name, (None, float("-inf")))
    if principal is None or time.monotonic() >= asked_at + SHARED_SECONDS:
        principal = ask_again(request, scope)
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[name] = principal, time.monotonic()
    return principal


def credentials_of(request: HttpRequest) -> tuple[object, ...]:
    """All that `principal_of` looks at."""
    session = getattr(request, "session", None)
    headers = {name: value for name, value in request.META.items() if name.startswith("HTTP_") and name not in BESIDE}
    return (
        request.META.get("REMOTE_ADDR"),
        request.method,
        session.session_key if session is not None else None,
        getattr(request, "csrf_processing_done", False),
        tuple(sorted(headers.items())),
    )


def ask_again(request: HttpRequest, scope: str) -> Principal:
    """The session and its account are read anew: those of the request are as they were."""
    again = copy(request)
    session = getattr(request, "session", None)
    if session is not None:
        again.session = type(session)(session.session_key)
        again.user = SimpleLazyObject(lambda: get_user(again))  # type: ignore[assignment]
    return principal_of(again, scope=scope)
