"""The names of those whose jobs staff sees."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from api.access.models import ApiKey
from api.access.scopes import LOCAL
from api.jobs.models import Job

USER = "user:"


def owner_names(jobs: Iterable[Job]) -> dict[str, str]:
    """By `owner_key`; two queries at most."""
    owners = {job.owner_key for job in jobs}
    users = [int(owner.removeprefix(USER)) for owner in owners if owner.startswith(USER) and owner[len(USER) :].isdigit()]
    keys = [owner for owner in owners if not owner.startswith(USER) and owner != LOCAL.owner_key]
    names = {owner: owner for owner in owners} | {LOCAL.owner_key: _("this machine")}
    if keys:
        names |= dict(ApiKey.objects.filter(prefix__in=keys).values_list("prefix", "name"))
    if users:
        names |= {f"{USER}{user.pk}": user.get_username() for user in get_user_model()._default_manager.filter(pk__in=users)}
    return names
