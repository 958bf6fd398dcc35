"""The one switch that every surface asks who a request comes from: the API, the dialects, streams, files and metrics."""

import base64
import ipaddress
from typing import TypeVar
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import close_old_connections
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS

from api.access.scopes import LOCAL, SCOPES, Principal
from api.access.services import CHALLENGE, KEY_REQUIRED, any_key_exists, authenticate_token, not_authenticated, note_use
from api.access.sessions import key_of_session

__all__ = ["LOCAL", "Principal", "aprincipal_of", "principal_of", "visible_to"]
FOREIGN_ORIGIN = "Requests from this web page's origin are not allowed; CORS_ORIGINS lists those that are."
BASIC_CHALLENGE = 'Basic realm="Darkroom: the password is an API key", charset="UTF-8"'
PROXY_HEADERS = ("HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
M = TypeVar("M", bound=Model)


def visible_to(principal: Principal, queryset: QuerySet[M]) -> QuerySet[M]:
    """The rows with this principal's `owner_key`; all of them for staff."""
    return queryset if principal.is_staff else queryset.filter(owner_key=principal.owner_key)


def principal_of(request: HttpRequest, *, scope: str | None = None) -> Principal:
    """Who sent the request; with `scope`, one who has it. DRF's authentication and every view outside DRF ask here.

    Queries the database; in async code use `aprincipal_of`. Raises NotAuthenticated (401), PermissionDenied (403: a foreign
    Origin, a scope that is lacking) or DisallowedHost (400: a foreign name that was made to resolve to loopback must not be
    let in).
    """
    principal = identify(request)
    if scope is not None and not principal.may(scope):
        raise missing_scope(scope)
    return principal


async def aprincipal_of(request: HttpRequest, *, scope: str | None = None) -> Principal:
    """`principal_of` for async views: holds neither a thread nor a database connection afterwards."""

    def ask() -> Principal:
        try:
            return principal_of(request, scope=scope)
        finally:
            close_old_connections()

    return await sync_to_async(ask)()


def identify(request: HttpRequest) -> Principal:
    refuse_foreign_origin(request, host=request.get_host())
    if is_local(request) and not any_key_exists():
        return LOCAL
    token = sent_token(request)
    if token is not None:
        return authenticate_token(token, challenge_for(request))
    if (person := logged_in_person(request)) is not None:
        return person
    raise not_authenticated(KEY_REQUIRED)


def missing_scope(scope: str) -> PermissionDenied:
    return PermissionDenied(f"This API key lacks the scope '{scope}'.")


def sent_token(request: HttpRequest) -> str | None:
    """The Bearer token, or Basic's password (the name before it may be anything). None without an Authorization header; '' for one of
    another scheme, which no key has.
    """
    header = request.headers.get("Authorization", "").strip()
    if not header:
        return None
    scheme, _, credentials = header.partition(" ")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer":
            return credentials
        case "basic":
            return basic_password(credentials)
    return ""


def basic_password(credentials: str) -> str:
    """'' for what is no base64 of `name:password`, as RFC 7617 has it."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return ""
    return text.partition(":")[2]


def challenge_for(request: HttpRequest) -> str:
    """What a 401 asks for: Basic only from who tried that. A browser would show its own dialog to everybody else."""
    return BASIC_CHALLENGE if request.headers.get("Authorization", "").strip().lower().startswith("basic") else CHALLENGE


def logged_in_person(request: HttpRequest) -> Principal | None:
    """Whose session it is. For anything but reading, only where Django's CSRF check has passed; and never for a page of another
    origin: CORS_ORIGINS lets in requests that bring a key, cookies don't stop at a port.
    """
    checked = request.method in SAFE_METHODS or getattr(request, "csrf_processing_done", False)
    origin = request.headers.get("Origin")
    if not checked or (origin is not None and not is_own_origin(origin, request.get_host())):
        return None
    return logged_in_staff(request) or logged_in_key(request)


def logged_in_staff(request: HttpRequest) -> Principal | None:
    """An account of the admin."""
    user = getattr(request, "user", None)
    if not getattr(user, "is_authenticated", False) or not isinstance(user, AbstractBaseUser):
        return None
    staff = getattr(user, "is_staff", False) and user.is_active
    return Principal(f"user:{user.pk}", frozenset(SCOPES), name=user.get_username()) if staff else None


def logged_in_key(request: HttpRequest) -> Principal | None:
    key = key_of_session(request)
    if key is None:
        return None
    note_use(key)
    return key.as_principal()


def is_local(request: HttpRequest) -> bool:
    """Whether the peer is this machine itself, and not a proxy on it. An unknown peer (a Unix socket) is not local."""
    return is_loopback(request.META.get("REMOTE_ADDR", "")) and not is_forwarded(request)


def is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def is_forwarded(request: HttpRequest) -> bool:
    """Any trace of a proxy: Forwarded, X-Forwarded-*, and the two others that proxies are known to add."""
    return any(name in PROXY_HEADERS or name.startswith("HTTP_X_FORWARDED") for name in request.META)


def refuse_foreign_origin(request: HttpRequest, *, host: str) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and not is_allowed_origin(origin, host):
        raise PermissionDenied(FOREIGN_ORIGIN)


def is_allowed_origin(origin: str, host: str) -> bool:
    """Our own pages, and those in CORS_ORIGINS."""
    return origin in settings.CORS_ORIGINS or is_own_origin(origin, host)


def is_own_origin(origin: str, host: str) -> bool:
    """The scheme is left out: a TLS proxy in front of us changes it."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
