"""What was found, for people: each thing in its box over the picture. Nothing is edited by hand."""

import unicodedata
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import MadeFilter, UsedModelFilter, date_text, newest
from api.vision.models import Detection

MOST_DRAWN = 1000
ORDERS = {"best": "-score", "worst": "score"}


class DetectionOrderFilter(admin.SimpleListFilter):
    title = "order"
    parameter_name = "sort"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("best", "Best score first"), ("worst", "Lowest score first")]

    def choices(self, changelist: Any) -> Any:
        for place, choice in enumerate(super().choices(changelist)):
            yield choice if place else {**choice, "display": "Newest first"}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Detection]) -> QuerySet[Detection]:
        return queryset


@admin.register(Detection)
class DetectionAdmin(ReadOnlyAdmin):
    list_display = ["picture", "thing", "shown_score", "box_text", "model_id", "made"]
    list_display_links = ["thing"]
    list_filter = [DetectionOrderFilter, UsedModelFilter, MadeFilter]
    search_fields = ["label"]
    search_help_text = (
        "A label or a part of one (in the newest 20,000 that the filters leave), or label:NAME for one label alone."
    )
    change_form_template = "admin/vision/detection/change_form.html"

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [ORDERS.get(request.GET.get("sort", ""), "-pk")]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Detection], search_term: str
    ) -> tuple[QuerySet[Detection], bool]:
        term = unicodedata.normalize("NFC", search_term.strip())  # as labels are kept
        if term.startswith("label:"):
            return queryset.filter(label=term.removeprefix("label:").strip()), False
        return super().get_search_results(request, newest(queryset) if term else queryset, term)

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any = None
    ) -> Any:
        context = {**context, "title": "Detection", "subtitle": None, "detections": of_job(obj.job), "chosen": obj}
        return super().render_change_form(request, context, add, change, form_url, obj)

    @admin.display(description="")
    def picture(self, detection: Detection) -> SafeString:
        if not detection.image_id:
            return SafeString('<span class="list-picture"></span>')
        address = f"/api/images/{detection.image_id}/thumbnail/"
        return format_html('<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', address)

    @admin.display(description="label")
    def thing(self, detection: Detection) -> str:
        return Truncator(detection.label).chars(80)

    @admin.display(description="score")
    def shown_score(self, detection: Detection) -> SafeString:
        return format_html("<strong>{}</strong>", f"{detection.score:.2f}")

    @admin.display(description="box")
    def box_text(self, detection: Detection) -> str:
        return box_text(detection)

    @admin.display(description="made")
    def made(self, detection: Detection) -> str:
        return date_text(detection.created_at)


def box_text(detection: Detection) -> str:
    """Where it begins, and how large it is: 12, 30: 200 × 80."""
    return f"{detection.xmin:.0f}, {detection.ymin:.0f}: {detection.width:.0f} × {detection.height:.0f}"


def of_job(job: Any) -> list[Detection]:
    return list(job.detections.select_related("image").order_by("index")[:MOST_DRAWN])
