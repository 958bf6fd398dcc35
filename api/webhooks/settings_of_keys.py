"""Which KeyWebhook an owner's jobs go by, its secret, and what it says where a request says nothing."""

import secrets
import time
from base64 import b64decode, b64encode
from datetime import timedelta

from django.utils import timezone

from api.access.scopes import LOCAL
from api.jobs.webhooks import Webhook
from api.webhooks.models import KeyWebhook
from config.secret import Unreadable

SECRET_PREFIX = "whsec_"  # noqa: S105  (the specification's)
SECRET_BYTES = 32
WITHOUT_KEY = ""
REFRESH_SECONDS = 1.0
OVERLAP = timedelta(hours=24)
"""How long what is sent is signed with the old secret, too, after a new one was made."""


def settings_owner(owner_key: str) -> str:
    """Whose settings this owner's jobs go by: the key's own, or those of all that comes without a key."""
    return WITHOUT_KEY if owner_key == LOCAL.owner_key or owner_key.startswith("user:") else owner_key


def make_secret() -> str:
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def settings_of(owner_key: str) -> KeyWebhook:
    """Made with a secret that nobody has seen yet, where there are none."""
    name = settings_owner(owner_key)
    if (row := KeyWebhook.objects.filter(owner_key=name).first()) is not None:
        return row
    fresh = KeyWebhook()
    fresh.write_secret(make_secret())
    return KeyWebhook.objects.get_or_create(owner_key=name, defaults={"secret": fresh.secret})[0]


def signing_keys(row: KeyWebhook) -> list[bytes]:
    """The newest first. Raises Unreadable."""
    keys = [row.read_secret()]
    if row.previous_until is not None and row.previous_until > timezone.now():
        keys.append(KeyWebhook(secret=row.previous_secret).read_secret())
    return [b64decode(key.removeprefix(SECRET_PREFIX)) for key in keys]


def show_secret(row: KeyWebhook) -> str | None:
    """The secret, the first time that it is asked for; afterwards None. Raises Unreadable."""
    secret = row.read_secret()
    first = KeyWebhook.objects.filter(pk=row.pk, shown_at=None).update(shown_at=timezone.now())
    return secret if first else None


def replace_secret(row: KeyWebhook) -> str:
    """A new one, which is shown now. What is sent in the next day is signed with both, so that receivers can be changed in between."""
    secret, now = make_secret(), timezone.now()
    row.previous_secret, row.previous_until = row.secret, now + OVERLAP
    try:
        row.read_secret()
    except Unreadable:  # the server's key has changed: nothing can be signed with the old one
        row.previous_secret, row.previous_until = "", None
    row.write_secret(secret)
    row.shown_at = now
    row.save(update_fields=["secret", "previous_secret", "previous_until", "shown_at"])
    return secret


class Defaults:
    """What the settings of keys say, read once a second at most: it is asked at every request for a job."""

    def __init__(self) -> None:
        self.webhooks: dict[str, Webhook] = {}
        self.read_at = float("-inf")

    def of(self, owner_key: str) -> Webhook | None:
        if time.monotonic() - self.read_at >= REFRESH_SECONDS:
            rows = KeyWebhook.objects.filter(enabled=True, gone_at=None).exclude(url="")
            self.webhooks = {row.owner_key: Webhook(row.url, tuple(row.events)) for row in rows}
            self.read_at = time.monotonic()
        return self.webhooks.get(settings_owner(owner_key)) if self.webhooks else None

    def forget(self) -> None:
        self.read_at = float("-inf")


defaults = Defaults()
