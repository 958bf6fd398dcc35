"""What a key has used and what its quotas leave, for the API, the studio and the admin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.access.models import ApiKey
from api.jobs.store.quota_periods import free_at
from api.jobs.store.usage import Use, read_totals, stored_bytes
from api.quotas import MEASURES, STORED, Quota

MOST_KEYS = 100
"""That are told of at once."""


@dataclass(frozen=True)
class QuotaUse:
    """One limit, and what of it is gone."""

    quota: Quota
    use: Use

    @property
    def remaining(self) -> int:
        return max(0, self.quota.limit - sum(self.use))

    @property
    def free_at(self) -> datetime | None:
        """When it begins anew; None for what is kept."""
        return free_at(self.quota)


@dataclass(frozen=True)
class OwnerUse:
    """`key` is None for an owner without one, who has no quotas either."""

    owner_key: str
    key: ApiKey | None
    totals: dict[str, Use]
    stored: int | None
    """None where nobody asked: it is summed up."""

    @property
    def quotas(self) -> list[QuotaUse]:
        found = self.key.quotas_in_force if self.key else ()
        return [QuotaUse(quota, self.use_of(quota.name)) for quota in found]

    def use_of(self, name: str) -> Use:
        return self.totals[name] if name != STORED else Use(self.stored or 0, self.reserved["bytes"])

    def used_in(self, period: str) -> dict[str, int]:
        return {measure: self.totals[f"{measure}_per_{period}"].used for measure in MEASURES}

    @property
    def periods(self) -> list[tuple[str, dict[str, int]]]:
        return [("today", self.used_in("day")), ("this month", self.used_in("month")), ("reserved", self.reserved)]

    @property
    def reserved(self) -> dict[str, int]:
        """By jobs under way; those of a month are all of them, but for such as have waited since the month before."""
        return {measure: self.totals[f"{measure}_per_month"].reserved for measure in MEASURES}


def use_of_owner(owner_key: str) -> OwnerUse:
    """With what its files take."""
    return use_of_owners([owner_key], sums_up=True)[0]


def use_of_owners(owners: Sequence[str], *, sums_up: bool = False) -> list[OwnerUse]:
    """In their order. What files take is told with `sums_up`, and of keys that have a quota of it."""
    if not owners:
        return []
    keys, totals = {key.prefix: key for key in ApiKey.objects.filter(prefix__in=owners)}, read_totals(owners)
    return [
        OwnerUse(owner, key := keys.get(owner), totals[owner], stored_bytes(owner) if sums_up or keeps_little(key) else None)
        for owner in owners
    ]


def keeps_little(key: ApiKey | None) -> bool:
    return key is not None and any(quota.name == STORED for quota in key.quotas_in_force)


def use_of_keys(keys: Iterable[ApiKey]) -> list[OwnerUse]:
    return use_of_owners([key.prefix for key in keys])


def unrevoked_after(prefix: str) -> list[ApiKey]:
    return list(ApiKey.objects.unrevoked().filter(prefix__gt=prefix).order_by("prefix")[:MOST_KEYS])
