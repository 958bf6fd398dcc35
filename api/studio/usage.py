"""The page of what a key has used and what its limits leave; staff sees every key's."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from api.access.models import ApiKey
from api.access.principals import Principal
from api.access.scopes import READ
from api.jobs.usage_report import MOST_KEYS, OwnerUse, QuotaUse, unrevoked_after, use_of_keys, use_of_owner
from api.quotas import MEASURES, STORED
from api.studio.access import for_people

TITLES: dict[str, Promise] = {
    "jobs_per_day": gettext_lazy("Jobs a day"),
    "pictures_per_day": gettext_lazy("Pictures a day"),
    "pixels_per_day": gettext_lazy("Pixels a day"),
    "bytes_per_day": gettext_lazy("Bytes of pictures a day"),
    "jobs_per_month": gettext_lazy("Jobs a month"),
    "pictures_per_month": gettext_lazy("Pictures a month"),
    "pixels_per_month": gettext_lazy("Pixels a month"),
    "bytes_per_month": gettext_lazy("Bytes of pictures a month"),
    STORED: gettext_lazy("Kept here: pictures and uploads"),
}
MEASURE_TITLES: dict[str, Promise] = {
    "jobs": gettext_lazy("Jobs"),
    "pictures": gettext_lazy("Pictures"),
    "pixels": gettext_lazy("Pixels"),
    "bytes": gettext_lazy("Bytes of pictures"),
}
FULL, NEARLY = 100, 80


def amount_text(measure: str, amount: int) -> str:
    if "bytes" in measure:
        return str(filesizeformat(amount))
    if measure.startswith("pixels") and amount >= 1_000_000:
        return _("%(number)s million") % {"number": number_format(amount / 1_000_000, 1)}
    return number_format(amount, force_grouping=True)


@dataclass(frozen=True)
class Bar:
    """One limit, as it is drawn."""

    found: QuotaUse

    @property
    def name(self) -> str:
        return self.found.quota.name

    @property
    def title(self) -> Promise:
        return TITLES[self.name]

    @property
    def percent(self) -> int:
        """What is used or reserved; all of it where nothing is allowed."""
        limit = self.found.quota.limit
        return min(FULL, sum(self.found.use) * 100 // limit) if limit else FULL

    @property
    def is_short(self) -> bool:
        return self.percent >= NEARLY

    @property
    def used(self) -> str:
        return amount_text(self.name, self.found.use.used)

    @property
    def reserved(self) -> str:
        return amount_text(self.name, self.found.use.reserved) if self.found.use.reserved else ""

    @property
    def limit(self) -> str:
        return amount_text(self.name, self.found.quota.limit)


@dataclass(frozen=True)
class KeyUse:
    """A key, or an owner without one."""

    use: OwnerUse

    @property
    def title(self) -> str:
        return self.use.key.name if self.use.key else _("this machine") if self.use.owner_key == "local" else self.use.owner_key

    @property
    def bars(self) -> list[Bar]:
        return [Bar(found) for found in self.use.quotas]

    @property
    def fullest(self) -> Bar | None:
        return max(self.bars, key=lambda bar: bar.percent, default=None)

    @property
    def rows(self) -> list[tuple[Promise, str, str, str]]:
        """Of each measure: today, this month, reserved."""
        columns = self.use.used_in("day"), self.use.used_in("month"), self.use.reserved
        return [
            (MEASURE_TITLES[measure], *(amount_text(measure, column[measure]) for column in columns))  # type: ignore[misc]
            for measure in MEASURES
        ]

    @property
    def this_month(self) -> list[str]:
        month = self.use.used_in("month")
        return [amount_text(measure, month[measure]) for measure in MEASURES]

    @property
    def stored(self) -> str:
        return amount_text(STORED, self.use.stored or 0)


@require_safe
@for_people(READ)
def page(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`key`: whose, for staff."""
    owner = request.GET.get("key", "") if principal.is_staff else ""
    if owner and not ApiKey.objects.filter(prefix=owner).exists():
        raise Http404
    shown = KeyUse(use_of_owner(owner or principal.owner_key))
    context = {"shown": shown, "is_own": not owner, **(keys_context(request) if principal.is_staff and not owner else {})}
    return render(request, "studio/usage/index.html", {**context, "measures": MEASURE_TITLES.values()})


def keys_context(request: HttpRequest) -> dict[str, object]:
    keys: Sequence[ApiKey] = unrevoked_after(request.GET.get("after", "")[:64])
    following = keys[-1].prefix if len(keys) == MOST_KEYS else ""
    return {"keys": [KeyUse(use) for use in use_of_keys(keys)], "following": following}
