"""Passwords of accounts can be guessed, so wrong ones slow down. (A key can't be guessed: it is 256 random bits.)

Counted in rows, for all web processes together. An account is not locked for everybody by one address's guesses; only many more of
them, from anywhere, do that.
"""

from datetime import timedelta

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from api.access.models import WrongPasswords

WAIT_SECONDS = 300
MOST_OF_ADDRESS, MOST_IN_ALL = 10, 200
"""Wrong passwords for one account within WAIT_SECONDS."""


class SlowedLoginForm(AdminAuthenticationForm):
    """The admin's, and the studio's. After too many wrong passwords the right one is not looked at either."""

    def clean(self) -> dict[str, object]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        counts = counts_of(self.cleaned_data.get("username", ""), address)
        if is_slowed(counts):
            raise ValidationError(_("Too many wrong passwords. Wait some minutes, then try again."), code="too_many")
        try:
            cleaned: dict[str, object] = super().clean()
        except ValidationError:
            count(counts)
            raise
        WrongPasswords.objects.filter(pk__in=counts).delete()
        return cleaned


def counts_of(account: str, address: str) -> dict[str, int]:
    """The rows' names, which tell nobody an account, and how many each may reach."""
    most = {f"{account.casefold()} from {address}": MOST_OF_ADDRESS, account.casefold(): MOST_IN_ALL}
    return {salted_hmac(__name__, text).hexdigest(): number for text, number in most.items()}


def is_slowed(counts: dict[str, int]) -> bool:
    found = WrongPasswords.objects.filter(pk__in=counts, since__gt=earliest()).values_list("pk", "count")
    return any(count >= counts[name] for name, count in found)


def earliest() -> object:
    return Now() - timedelta(seconds=WAIT_SECONDS)


@transaction.atomic
def count(counts: dict[str, int]) -> None:
    """Rows whose time is over go with it: there are no more of them than wrong passwords within it."""
    WrongPasswords.objects.filter(since__lte=earliest()).delete()
    WrongPasswords.objects.bulk_create([WrongPasswords(name=name) for name in sorted(counts)], ignore_conflicts=True)
    for name in sorted(counts):
        WrongPasswords.objects.filter(pk=name).update(count=F("count") + 1)
