"""Passwords of accounts can be guessed, so wrong ones slow down. (A key can't be guessed: it is 256 random bits.)

Counted in Django's cache: for each web process, and until it ends. An account is not locked for everybody by one address's guesses;
only many more of them, from anywhere, do that.
"""

from contextlib import suppress

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

WAIT_SECONDS = 300
MOST_OF_ADDRESS, MOST_IN_ALL = 10, 200
"""Wrong passwords for one account within WAIT_SECONDS."""


class SlowedLoginForm(AdminAuthenticationForm):
    """The admin's, and the studio's. After too many wrong passwords the right one is not looked at either."""

    def clean(self) -> dict[str, object]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        counts = counts_of(self.cleaned_data.get("username", ""), address)
        if any(cache.get(name, 0) >= most for name, most in counts.items()):
            raise ValidationError(_("Too many wrong passwords. Wait some minutes, then try again."), code="too_many")
        try:
            cleaned: dict[str, object] = super().clean()
        except ValidationError:
            count(counts)
            raise
        cache.delete_many(counts)
        return cleaned


def counts_of(account: str, address: str) -> dict[str, int]:
    """The cache's names, and how many each may reach."""
    account = salted_hmac(__name__, account.casefold()).hexdigest()
    return {f"wrong-passwords.{account}.{address}": MOST_OF_ADDRESS, f"wrong-passwords.{account}": MOST_IN_ALL}


def count(counts: dict[str, int]) -> None:
    for name in counts:
        cache.add(name, 0, WAIT_SECONDS)
        with suppress(ValueError):  # it has ended in between
            cache.incr(name)
