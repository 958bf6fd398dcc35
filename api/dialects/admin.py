"""AUTOMATIC1111's options for people: which owners have chosen what. They are changed by their owners alone, or taken back here."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from api.access.models import ApiKey
from api.dialects.models import A1111Options
from api.jobs.admin.tools import CappedPaginator

SHOWN = 4


@admin.register(A1111Options)
class A1111OptionsAdmin(admin.ModelAdmin):
    list_display = ["owner_key", "key_name", "summary"]
    search_fields = ["owner_key"]
    fields = ["owner_key", "key_name", "options"]
    readonly_fields = ["owner_key", "key_name", "options"]
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[A1111Options]:
        names = ApiKey.objects.filter(prefix=OuterRef("owner_key")).values("name")[:1]
        return super().get_queryset(request).annotate(name_of_key=Subquery(names))

    @admin.display(description="key")
    def key_name(self, row: Any) -> str:
        """Requests of this machine and of people who are logged in have none."""
        return row.name_of_key or "–"

    @admin.display(description="options that differ from the defaults")
    def summary(self, row: A1111Options) -> str:
        said = [f"{name}: {value}" for name, value in list(row.values.items())[:SHOWN]]
        more = len(row.values) - len(said)
        return Truncator(", ".join(said) or "–").chars(200) + (f" and {more} more" if more > 0 else "")

    @admin.display(description="options that differ from the defaults")
    def options(self, row: A1111Options) -> SafeString:
        return format_html_join("", "{}: {}<br>", sorted(row.values.items())) or SafeString("–")
