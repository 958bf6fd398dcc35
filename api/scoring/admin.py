"""The verdicts for people: each with the picture, what was seen in it, and every measure. Nothing is edited by hand."""

import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from api.access.principals import principal_of
from api.files.rating_clicks import answer_rating, read_rating
from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.detail import pretty
from api.jobs.admin.tools import MadeFilter, date_text, newest, seconds_text
from api.scoring.backends.figures import PromptScore as Figures
from api.scoring.models import LayoutScore, PromptScore
from api.scoring.scorers import CLIP, SCORERS
from api.scoring.taste import admin as taste_admin  # noqa: F401  (it registers itself)
from config.catalog import get_catalog

HEADLINES = (
    ("aesthetic_score", "Overall"),
    ("composition_score", "Composition"),
    ("color_harmony_score", "Colour"),
    ("balance_score", "Balance"),
)
NOT_LISTED = ("measures", "variant", "event_data", "elements")
PROMPT_FIELDS = ("picture", "prompt", "cosine", "clip_score", "clip_score_hessel", "clip_model", "job", "made")
PROMPT_ORDERS = {"best": "-clip_cosine", "worst": "clip_cosine"}
ORDERS = {"best": "-aesthetic_score", "worst": "aesthetic_score"}


class ScoreOrderFilter(admin.SimpleListFilter):
    """Which come first. By score, those without one are left out, so that an index has the order."""

    title = "order"
    parameter_name = "sort"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("best", "Best first"), ("worst", "Worst first")]

    def choices(self, changelist: Any) -> Any:
        for place, choice in enumerate(super().choices(changelist)):
            yield choice if place else {**choice, "display": "Newest first"}

    def queryset(self, request: HttpRequest, queryset: QuerySet[LayoutScore]) -> QuerySet[LayoutScore]:
        return queryset.filter(aesthetic_score__isnull=False) if self.value() in ORDERS else queryset


class RangeFilter(admin.SimpleListFilter):
    title = "overall score"
    parameter_name = "overall"
    RANGES = {"80": (80, 101), "60": (60, 80), "40": (40, 60), "0": (0, 40)}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("80", "80 and more"), ("60", "60 to 80"), ("40", "40 to 60"), ("0", "Below 40")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LayoutScore]) -> QuerySet[LayoutScore]:
        if self.value() not in self.RANGES:
            return queryset
        low, high = self.RANGES[self.value() or ""]
        return queryset.filter(aesthetic_score__gte=low, aesthetic_score__lt=high)


class BackendFilter(admin.SimpleListFilter):
    title = "backend"
    parameter_name = "backend"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(SCORERS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LayoutScore]) -> QuerySet[LayoutScore]:
        """custom stands for custom:NAME, whichever."""
        name = self.value()
        return queryset.filter(Q(backend=name) | Q(backend__startswith=f"{name}:")) if name else queryset


@admin.register(LayoutScore)
class LayoutScoreAdmin(ReadOnlyAdmin):
    list_display = ["picture", "asked", "overall", "composition", "colour", "balance", "said", "made"]
    list_display_links = ["asked"]
    list_filter = [ScoreOrderFilter, RangeFilter, BackendFilter, MadeFilter]
    search_fields = ["title"]
    search_help_text = "Words of the title."
    change_form_template = "admin/scoring/layoutscore/change_form.html"

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [ORDERS.get(request.GET.get("sort", ""), "-pk")]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LayoutScore], search_term: str
    ) -> tuple[QuerySet[LayoutScore], bool]:
        return super().get_search_results(request, queryset.defer(*NOT_LISTED), search_term)

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any = None
    ) -> Any:
        own = obj.ratings.filter(owner_key=principal_of(request).owner_key).first()
        context = {**context, **score_context(obj), "may_rate": self.may_rate(request), "own_stars": own.stars if own else None}
        return super().render_change_form(request, context, add, change, form_url, obj)

    # ------------------------------------------------------------ stars, with one click

    def may_rate(self, request: HttpRequest) -> bool:
        return request.user.has_perm("scoring.add_rating")  # type: ignore[union-attr]

    def get_urls(self) -> list[URLPattern]:
        rate = self.admin_site.admin_view(require_POST(self.rate))
        return [path("<uuid:pk>/rate/", rate, name="scoring_layoutscore_rate"), *super().get_urls()]

    def rate(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """One's own stars: a layout has no others to show."""
        if not self.may_rate(request):
            raise PermissionDenied
        score = LayoutScore.objects.filter(pk=pk).first()
        if score is None:
            raise Http404
        rater, stars = principal_of(request).owner_key, read_rating(request)
        if stars is None:
            score.ratings.filter(owner_key=rater).delete()
        else:
            score.ratings.give(owner_key=rater, stars=stars)
        return answer_rating(request, stars, reverse("admin:scoring_layoutscore_change", args=[pk]))

    @admin.display(description="")
    def picture(self, score: LayoutScore) -> SafeString:
        if not score.image_id:
            return SafeString('<span class="list-picture"></span>')
        address = f"/api/images/{score.image_id}/thumbnail/"
        return format_html('<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', address)

    @admin.display(description="layout")
    def asked(self, score: LayoutScore) -> str:
        return Truncator(score.title).chars(80) or f"layout {str(score.pk)[-12:]}"

    @admin.display(description="overall")
    def overall(self, score: LayoutScore) -> SafeString:
        return format_html("<strong>{}</strong>", points(score.aesthetic_score))

    @admin.display(description="composition")
    def composition(self, score: LayoutScore) -> str:
        return points(score.composition_score)

    @admin.display(description="colour")
    def colour(self, score: LayoutScore) -> str:
        return points(score.color_harmony_score)

    @admin.display(description="balance")
    def balance(self, score: LayoutScore) -> str:
        return points(score.balance_score)

    @admin.display(description="first reason")
    def said(self, score: LayoutScore) -> SafeString:
        first = score.reasoning[0] if score.reasoning else ""
        return format_html('<span class="list-prompt" title="{}">{}</span>', first, Truncator(first).chars(90))

    @admin.display(description="made")
    def made(self, score: LayoutScore) -> str:
        return date_text(score.created_at)


def points(score: float | None) -> str:
    return "–" if score is None else f"{score:.0f}"


def score_context(score: LayoutScore) -> dict[str, object]:
    measures = sorted(score.measures.items(), key=lambda item: item[1]["score"])
    return {
        "title": "Layout score",
        "subtitle": None,
        "headlines": [(label, points(getattr(score, name)), getattr(score, name) or 0) for name, label in HEADLINES],
        "rows": [(name.replace("_", " "), measure) for name, measure in measures],
        "classes": [(name, value) for name, value in score.variant.items() if value],
        "elements_json": pretty(score.elements) if score.elements else "",
        "took": seconds_text(score.duration),
    }


# ---------------------------------------------------------------- prompts


class ClipModelFilter(admin.SimpleListFilter):
    """Cosines of different models are not comparable."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(entry.id, entry.id) for entry in get_catalog().of_task(CLIP)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PromptScore]) -> QuerySet[PromptScore]:
        return queryset.filter(clip_model=self.value()) if self.value() else queryset


class PromptOrderFilter(admin.SimpleListFilter):
    title = "order"
    parameter_name = "sort"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("best", "Best fit first"), ("worst", "Worst fit first")]

    def choices(self, changelist: Any) -> Any:
        for place, choice in enumerate(super().choices(changelist)):
            yield choice if place else {**choice, "display": "Newest first"}

    def queryset(self, request: HttpRequest, queryset: QuerySet[PromptScore]) -> QuerySet[PromptScore]:
        return queryset


@admin.register(PromptScore)
class PromptScoreAdmin(ReadOnlyAdmin):
    """What `/api/clip-score/` was asked: each picture with each prompt."""

    list_display = ["picture", "asked", "cosine", "clip_score", "clip_model", "made"]
    list_display_links = ["asked"]
    list_filter = [PromptOrderFilter, ClipModelFilter, MadeFilter]
    search_fields = ["prompt"]
    search_help_text = "Words of the prompt, in the newest 20,000 that the filters leave."
    fields = PROMPT_FIELDS
    readonly_fields = PROMPT_FIELDS

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [PROMPT_ORDERS.get(request.GET.get("sort", ""), "-pk")]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[PromptScore], search_term: str
    ) -> tuple[QuerySet[PromptScore], bool]:
        return super().get_search_results(request, newest(queryset) if search_term else queryset, search_term)

    @admin.display(description="")
    def picture(self, score: PromptScore) -> SafeString:
        if not score.image_id:
            return SafeString('<span class="list-picture"></span>')
        address = f"/api/images/{score.image_id}/thumbnail/"
        return format_html('<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', address)

    @admin.display(description="prompt")
    def asked(self, score: PromptScore) -> str:
        return Truncator(score.prompt).chars(90)

    @admin.display(description="cosine")
    def cosine(self, score: PromptScore) -> SafeString:
        return format_html("<strong>{}</strong>", f"{score.clip_cosine:.4f}")

    @admin.display(description="CLIP score")
    def clip_score(self, score: PromptScore) -> str:
        return f"{figures_of(score)['clip_score']:.2f}"

    @admin.display(description="CLIP score (Hessel)")
    def clip_score_hessel(self, score: PromptScore) -> str:
        return f"{figures_of(score)['clip_score_hessel']:.2f}"

    @admin.display(description="made")
    def made(self, score: PromptScore) -> str:
        return date_text(score.created_at)


def figures_of(score: PromptScore) -> dict[str, float | str]:
    return Figures(score.clip_cosine, score.clip_model).as_dict()
