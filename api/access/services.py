"""Making, checking and revoking keys."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q
from django.utils import timezone
from rest_framework.exceptions import NotAuthenticated

from api.access import tokens
from api.access.models import ApiKey, default_scopes
from api.access.scopes import GENERAL_LIMITS, MAX_WEIGHT, SCOPES, OwnerLimits, Principal
from api.quotas import Quotas

CHALLENGE = "Bearer"
KEY_REQUIRED = (
    "An API key is required: `Authorization: Bearer drk_…`, or Basic with the key as the password. `python manage.py create_key NAME` "
    "makes one where the server runs."
)
KEY_REFUSED = "This API key is unknown, expired or revoked. `python manage.py create_key NAME` makes one where the server runs."
LAST_USED_STEP = timedelta(minutes=1)
NO_HASH = "0" * 64


def create_key(
    *,
    name: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
    max_active_jobs: int | None = None,
    weight: int = 1,
    quotas: Quotas | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its token, which can't be had again. Scopes are read and submit unless said otherwise.

    Raises ValueError for an unknown scope, and for a weight that is none.
    """
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"A weight is 1 to {MAX_WEIGHT}.")
    chosen = default_scopes() if scopes is None else [scope for scope in SCOPES if scope in scopes]
    if not chosen or unknown_scopes(scopes or ()):
        raise ValueError(f"Scopes are one or more of {', '.join(SCOPES)}.")
    secret = tokens.make_secret()
    key = ApiKey.objects.create(
        prefix=tokens.make_prefix(),
        secret_hash=tokens.hash_secret(secret),
        name=name,
        scopes=chosen,
        expires_at=expires_at,
        max_active_jobs=max_active_jobs,
        weight=weight,
        quotas=quotas or {},
    )
    return key, tokens.format_token(key.prefix, secret)


def limits_of(owner_key: str) -> OwnerLimits:
    """Of the owner's key; the general ones for an owner without a key."""
    key = ApiKey.objects.filter(prefix=owner_key).first()
    return key.limits if key else GENERAL_LIMITS


def unknown_scopes(scopes: Collection[str]) -> set[str]:
    return set(scopes) - set(SCOPES)


def revoke_key(key: ApiKey) -> bool:
    """False where it was revoked before. The next request with it is refused, in every process."""
    return bool(ApiKey.objects.unrevoked().filter(pk=key.pk).update(revoked_at=timezone.now()))


def any_key_exists() -> bool:
    """An expired key still counts: time alone must not open a server. In SQL, since every request asks: Django takes longer to write it
    than the database to answer.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {ApiKey._meta.db_table} WHERE revoked_at IS NULL LIMIT 1")  # noqa: S608  (the table's name is ours)
        return cursor.fetchone() is not None


def authenticate_token(token: str, challenge: str = CHALLENGE) -> Principal:
    """The principal of an active key. Raises NotAuthenticated with the same words whatever is wrong with it."""
    key = find_active_key(token)
    if key is None:
        raise not_authenticated(KEY_REFUSED, challenge)
    note_use(key)
    return key.as_principal()


def find_active_key(token: str) -> ApiKey | None:
    parts = tokens.parse_token(token)
    if parts is None:
        return None
    key = ApiKey.objects.filter(prefix=parts.prefix).first()
    matches = tokens.secret_matches(parts.secret, key.secret_hash if key else NO_HASH)
    return key if key is not None and matches and key.is_active else None


def note_use(key: ApiKey) -> None:
    """Writes at most once a minute, so that reading requests don't queue up for the database's writer."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_STEP:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USED_STEP)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def not_authenticated(detail: str, challenge: str = CHALLENGE) -> NotAuthenticated:
    error = NotAuthenticated(detail)
    error.auth_header = challenge  # type: ignore[attr-defined]  # what DRF sets, for views outside it
    return error
