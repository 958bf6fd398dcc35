"""What admin lists of long tables share: a count with a bound, filters that walk an index, numbers in words.

Ids are UUIDv7 (identifiers.py), so a span of time is a span of ids: filtering by date and newest first use one index.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection, models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from api.jobs.identifiers import first_id_of
from api.jobs.store.word_index import finds_words

MOST_COUNTED = 10_000
MOST_MODELS = 100
MOST_SEARCHED = 20_000


class CappedPaginator(Paginator):
    """Counts no further than MOST_COUNTED: an admin list must not read a table of millions to print a number.

    Past the last page one gets by narrowing the list, which templates/admin/pagination.html says.
    """

    @cached_property
    def counted(self) -> int:
        """Rows seen, at most one more than MOST_COUNTED."""
        return cast(QuerySet[Any], self.object_list).order_by()[: MOST_COUNTED + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, MOST_COUNTED)

    @property
    def is_capped(self) -> bool:
        return self.counted > MOST_COUNTED

    @property
    def count_text(self) -> str:
        return f"{self.count:,}{'+' if self.is_capped else ''}"


def midnight(days_ago: int = 0) -> datetime:
    return timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


class MadeFilter(admin.SimpleListFilter):
    """By date, through ids. `made=2026-11-21` is one day, which is how one reaches what is older than the pages show."""

    title = "date"
    parameter_name = "made"
    template = "admin/date_filter.html"
    SPANS = {"today": ("Today", 0), "week": ("Past 7 days", 6), "month": ("Past 30 days", 29)}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [*((key, label) for key, (label, _days) in self.SPANS.items()), ("older", "Older than 30 days")]

    @cached_property
    def day(self) -> datetime | None:
        """The day that was asked for; None for one of the spans and for what is no date."""
        try:
            day = datetime.strptime(self.value() or "", "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        return day if day.year < datetime.max.year else None  # its end must be a date, too

    def choices(self, changelist: Any) -> Any:
        """Also keeps the list's other parameters, for the template's form."""
        others = changelist.get_filters_params().items()
        query = [("q", changelist.query)] if changelist.query else []
        self.others = [(key, value) for key, values in others if key != self.parameter_name for value in values] + query
        return super().choices(changelist)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if value in self.SPANS:
            return queryset.filter(pk__gte=first_id_of(midnight(self.SPANS[value][1])))
        if value == "older":
            return queryset.filter(pk__lt=first_id_of(midnight(29)))
        if self.day is not None:
            return queryset.filter(pk__gte=first_id_of(self.day), pk__lt=first_id_of(self.day + timedelta(days=1)))
        return queryset


class UsedModelFilter(admin.SimpleListFilter):
    """The models that rows name, read from the index on `model_id` without a DISTINCT over all rows."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(model_id, model_id) for model_id in used_models(model_admin.model)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model_id=self.value()) if self.value() else queryset


def used_models(model: type[models.Model]) -> list[str]:
    """The distinct `model_id`s of a table, at most MOST_MODELS: one step in the index for each."""
    table = connection.ops.quote_name(model._meta.db_table)
    sql = f"""
        WITH RECURSIVE used(model_id) AS (
            SELECT MIN(model_id) FROM {table}
            UNION ALL
            SELECT (SELECT MIN(model_id) FROM {table} WHERE model_id > used.model_id) FROM used WHERE used.model_id IS NOT NULL
        )
        SELECT model_id FROM used WHERE model_id <> '' LIMIT {MOST_MODELS}"""  # noqa: S608  (the table's name is ours)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def searched(queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
    """The rows whose prompts are searched for words: all, where an index finds them."""
    return queryset if not text or finds_words(queryset.model, text) else newest(queryset)


def newest(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The newest MOST_SEARCHED of the rows: looking for words reads every row, so there must be an end to it.

    What the filters leave is taken first, so that a date reaches any part of the history.
    """
    beyond = queryset.order_by("-pk").values_list("pk", flat=True)[MOST_SEARCHED : MOST_SEARCHED + 1].first()
    return queryset.filter(pk__gt=beyond) if beyond else queryset


def pill(state: str) -> SafeString:
    return format_html('<span class="pill pill-{}">{}</span>', state, state)


def date_text(moment: datetime) -> str:
    """As every date of the pages (DATETIME_FORMAT)."""
    return date_format(moment, "DATETIME_FORMAT")


def decimal_text(value: float, digits: int) -> str:
    """With the page's own decimal sign."""
    return number_format(round(value, digits), digits)  # which only cuts off


def seconds_text(seconds: float | None) -> str:
    """0.42 s, 12.3 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{decimal_text(max(seconds, 0), 2)} s"
    if seconds < 60:
        return f"{decimal_text(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _("%(minutes)d min %(seconds)02d s") % {"minutes": minutes, "seconds": rest}
    return _("%(hours)d h %(minutes)02d min") % {"hours": minutes // 60, "minutes": minutes % 60}


def bytes_text(size: float | None) -> str:
    if size is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{decimal_text(size, 1)} GiB"


def between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def chosen_only(queryset: QuerySet[Any], limit: int) -> tuple[Sequence[Any], bool]:
    """The first `limit` rows of an action's choice ('select all' may mean millions), and whether there were more."""
    rows = list(queryset[: limit + 1])
    return rows[:limit], len(rows) > limit
