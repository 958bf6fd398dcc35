"""People who log in with an API key. The session names the key and never holds its secret; it ends when the key does."""

import uuid

from django.contrib.auth import logout
from django.http import HttpRequest
from django.middleware.csrf import rotate_token
from django.utils.crypto import constant_time_compare, salted_hmac

from api.access.models import ApiKey

KEY_ID, KEY_STATE = "api_key_id", "api_key_state"


def log_in_with_key(request: HttpRequest, key: ApiKey) -> None:
    """In a session of its own: what another person's had is gone, and an identifier that was planted before is worth nothing."""
    logout(request)
    request.session[KEY_ID] = str(key.pk)
    request.session[KEY_STATE] = state_of(key)
    rotate_token(request)


def state_of(key: ApiKey) -> str:
    """Another one once the key may do something else: a session is no way to keep what was taken away."""
    return salted_hmac(__name__, " ".join([key.secret_hash, *sorted(key.scopes)])).hexdigest()


def key_of_session(request: HttpRequest) -> ApiKey | None:
    """The key that logged in. A session whose key was revoked, has expired or was given other scopes ends here."""
    session = getattr(request, "session", None)
    if session is None or KEY_ID not in session:
        return None
    key = ApiKey.objects.filter(pk=uuid.UUID(session[KEY_ID])).first()
    if key is None or not key.is_active or not constant_time_compare(session.get(KEY_STATE, ""), state_of(key)):
        session.flush()
        return None
    return key
