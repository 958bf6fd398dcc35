"""Rules for prompts are written here; the record of what they matched is read here."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import CappedPaginator, MadeFilter, date_text, newest
from api.safety.models import KeyChecks, PromptMatch, PromptRule


@admin.register(PromptRule)
class PromptRuleAdmin(admin.ModelAdmin):
    list_display = ["name", "enabled", "action", "requests", "whose", "syntax", "shown_expression", "matches", "changed_at"]
    list_filter = ["enabled", "action", "requests"]
    search_fields = ["name", "expression"]
    fields = ["name", "enabled", "syntax", "expression", "requests", "keys", "action", "message"]
    filter_horizontal = ["keys"]
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[PromptRule]:
        return super().get_queryset(request).prefetch_related("keys")

    @admin.display(description="keys")
    def whose(self, rule: PromptRule) -> str:
        return Truncator(", ".join(key.prefix for key in rule.keys.all()) or "all").chars(60)

    @admin.display(description="expression")
    def shown_expression(self, rule: PromptRule) -> str:
        return Truncator(", ".join(rule.expression.splitlines())).chars(60)

    @admin.display(description="")
    def matches(self, rule: PromptRule) -> SafeString:
        query = urlencode({"q": f"rule:{rule.name}"})
        return format_html('<a href="{}?{}">matches</a>', reverse("admin:safety_promptmatch_changelist"), query)


class ActionFilter(admin.SimpleListFilter):
    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("refuse", "refused"), ("flag", "flagged")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PromptMatch]) -> QuerySet[PromptMatch]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(PromptMatch)
class PromptMatchAdmin(ReadOnlyAdmin):
    list_display = ["when", "done", "rule_name", "matched", "asked", "owner_key", "source", "flagged_job"]
    list_display_links = ["when"]
    list_filter = [ActionFilter, MadeFilter]
    search_fields = ["prompt"]
    search_help_text = (
        "Words of the prompt (in the newest 20,000 that the filters leave), "
        "owner:KEY for one owner's, or rule:NAME for one rule's."
    )
    fields = ["when", "done", "rule_name", "matched", "prompt", "kind", "owner_key", "source", "flagged_job"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PromptMatch], search_term: str
    ) -> tuple[QuerySet[PromptMatch], bool]:
        term = search_term.strip()
        if term.startswith("owner:"):
            return queryset.filter(owner_key=term.removeprefix("owner:").strip()), False
        if term.startswith("rule:"):
            return newest(queryset).filter(rule_name=term.removeprefix("rule:").strip()), False
        return super().get_search_results(request, newest(queryset) if term else queryset, search_term)

    @admin.display(description="when")
    def when(self, match: PromptMatch) -> str:
        return date_text(match.created_at)

    @admin.display(description="action")
    def done(self, match: PromptMatch) -> str:
        return "refused" if match.action == PromptRule.Action.REFUSE else "flagged"

    @admin.display(description="prompt")
    def asked(self, match: PromptMatch) -> str:
        return Truncator(match.prompt).chars(80)

    @admin.display(description="job")
    def flagged_job(self, match: PromptMatch) -> Any:
        """One that was flagged, while it is there."""
        if match.job_id is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:jobs_job_change", args=[match.job_id]), str(match.job_id)[-12:]
        )


@admin.register(KeyChecks)
class KeyChecksAdmin(admin.ModelAdmin):
    list_display = ["key", "check_pictures", "threshold"]
    list_display_links = ["key"]
    list_filter = ["check_pictures"]
    search_fields = ["key__prefix", "key__name"]
    list_select_related = ["key"]
    fields = ["key", "check_pictures", "threshold"]
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
