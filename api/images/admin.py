"""The pictures for people: a wall to look at, and for each one everything that made it. Only judgements can be edited."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from statistics import quantiles
from typing import Any

from django import forms
from django.contrib import admin
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from api.access.principals import principal_of
from api.files.rating_clicks import answer_rating, read_rating
from api.images.models import GeneratedImage, Tag
from api.images.presets import admin as presets_admin  # noqa: F401  (it registers itself)
from api.images.services import delete_image, judge_image
from api.jobs.admin.detail import pretty, readable
from api.jobs.admin.tools import CappedPaginator, MadeFilter, UsedModelFilter, searched

MOST_TAGS = 100
MOST_DERIVED = 24
MOST_SAMPLED = 2_000
QUARTILE_SECONDS = 60
NOT_LISTED = ("parameters", "negative_prompt")
COLUMNS = {field.name for field in GeneratedImage._meta.get_fields()}
ORDERS = {"newest": "-pk", "oldest": "pk", "clip": "-clip_score", "rating": "-rating"}


class SortFilter(admin.SimpleListFilter):
    """Which come first. By a score, those without one are left out, so that an index has the order."""

    title = "order"
    parameter_name = "sort"
    FIELDS = {"clip": "clip_score", "rating": "rating"}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("oldest", "Oldest first"), ("clip", "Best prompt match first"), ("rating", "Best rated first")]

    def choices(self, changelist: Any) -> Any:
        for place, choice in enumerate(super().choices(changelist)):
            yield choice if place else {**choice, "display": "Newest first"}

    def queryset(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> QuerySet[GeneratedImage]:
        field = self.FIELDS.get(self.value() or "")
        return queryset.filter(**{f"{field}__isnull": False}) if field else queryset


class RatingFilter(admin.SimpleListFilter):
    title = "rating"
    parameter_name = "rated"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("5", "★★★★★"), ("4", "★★★★ or more"), ("3", "★★★ or more"), ("any", "Rated"), ("none", "Not rated")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> QuerySet[GeneratedImage]:
        match self.value():
            case "3" | "4" | "5" as least:
                return queryset.filter(rating__gte=int(least))
            case "any":
                return queryset.filter(rating__gte=1)
            case "none":  # not as IS NULL, for which SQLite would sort nearly the whole table out of the index on ratings
                return queryset.exclude(rating__gte=1)
        return queryset


class MatchFilter(admin.SimpleListFilter):
    """By the quarter of its CLIP model's scores that a picture's is in: models differ in the range of their scores."""

    title = "prompt match"
    parameter_name = "match"
    QUARTERS = {"4": "Best quarter", "3": "Second quarter", "2": "Third quarter", "1": "Lowest quarter"}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        quartiles = list(match_quartiles().values())
        ends = [range_text(number, quartiles[0]) if len(quartiles) == 1 else "" for number in (4, 3, 2, 1)]
        labels = [f"{label}{end}" for label, end in zip(self.QUARTERS.values(), ends, strict=True)]
        return [*zip(self.QUARTERS, labels, strict=True), ("none", "Not scored")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> QuerySet[GeneratedImage]:
        if self.value() == "none":  # not as IS NULL: see RatingFilter
            return queryset.exclude(clip_score__gte=0)
        if self.value() not in self.QUARTERS:
            return queryset
        number, within = int(self.value() or ""), Q(pk__in=[])
        for model_id, quartiles in match_quartiles().items():
            bounds = [0.0, *quartiles, 101.0]
            within |= Q(scores__clip_model=model_id, clip_score__gte=bounds[number - 1], clip_score__lt=bounds[number])
        return queryset.filter(within)


def range_text(number: int, quartiles: Sequence[float]) -> str:
    """Of one quarter, the lowest being 1: ' (22.1 to 24.9)'."""
    if number == 4:
        return f" ({quartiles[2]:.1f} and more)"
    return f" ({quartiles[number - 2]:.1f} to {quartiles[number - 1]:.1f})" if number > 1 else f" (below {quartiles[0]:.1f})"


def match_quartiles() -> dict[str, list[float]]:
    """By CLIP model the three quartiles of its scores among the newest pictures; of models with two pictures at least."""
    return cache.get_or_set("images.match_quartiles", count_match_quartiles, QUARTILE_SECONDS)  # type: ignore[return-value]


def count_match_quartiles() -> dict[str, list[float]]:
    scores: dict[str, list[float]] = defaultdict(list)
    newest_scores = GeneratedImage.objects.order_by("-pk").values_list("scores__clip_model", "clip_score")
    for model_id, score in newest_scores[:MOST_SAMPLED]:
        if model_id is not None and score is not None:
            scores[model_id].append(score)
    return {model_id: quantiles(found, n=4, method="inclusive") for model_id, found in scores.items() if len(found) > 1}


class TagFilter(admin.SimpleListFilter):
    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(name, name) for name in Tag.objects.values_list("name", flat=True)[:MOST_TAGS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> QuerySet[GeneratedImage]:
        return queryset.filter(tags__name=self.value()) if self.value() else queryset


class JudgementForm(forms.ModelForm):
    rating = forms.TypedChoiceField(
        choices=[("", "none"), *((str(stars), "★" * stars) for stars in range(1, 6))],
        widget=forms.RadioSelect,
        coerce=int,
        empty_value=None,
        required=False,
    )
    tag_names = forms.CharField(label="Tags", required=False, max_length=1000, help_text="Separated by commas.")

    class Meta:
        model = GeneratedImage
        fields = ["rating", "favourite"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["tag_names"] = ", ".join(tag.name for tag in self.instance.tags.all())

    def clean_tag_names(self) -> list[str]:
        names = [name.strip() for name in self.cleaned_data["tag_names"].split(",") if name.strip()]
        longest = Tag._meta.get_field("name").max_length or 0
        if any(len(name) > longest for name in names):
            raise forms.ValidationError(f"A tag has {longest} letters at most.")
        return names


@admin.register(GeneratedImage)
class GeneratedImageAdmin(admin.ModelAdmin):
    form = JudgementForm
    fields = ["rating", "favourite", "tag_names"]
    list_display = ["prompt"]
    list_filter = [SortFilter, "origin", UsedModelFilter, MatchFilter, RatingFilter, "favourite", TagFilter, MadeFilter]
    search_fields = ["prompt"]
    search_help_text = (
        "Words of the prompt (without search_index in the newest 20,000 that the filters leave), or a seed as seed:42."
    )
    list_per_page = 48
    list_max_show_all = 0
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ["mark", "unmark"]
    actions_selection_counter = False

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return [ORDERS.get(request.GET.get("sort", ""), "-pk")]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[GeneratedImage], search_term: str
    ) -> tuple[QuerySet[GeneratedImage], bool]:
        queryset = queryset.defer(*NOT_LISTED)
        seed = search_term.strip().removeprefix("seed:")
        if search_term.strip().startswith("seed:") and seed.isascii() and seed.isdigit() and len(seed) <= 18:
            return queryset.filter(seed=int(seed)), False
        return super().get_search_results(request, searched(queryset, search_term.strip()), search_term)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any = None
    ) -> Any:
        return super().render_change_form(request, {**context, **picture_context(obj)}, add, change, form_url, obj)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        may_rate = self.has_change_permission(request)
        return super().changelist_view(request, {"may_rate": may_rate, **(extra_context or {})})

    # ------------------------------------------------------------ stars, with one click

    def get_urls(self) -> list[URLPattern]:
        rate = self.admin_site.admin_view(require_POST(self.rate))
        return [path("<uuid:pk>/rate/", rate, name="images_generatedimage_rate"), *super().get_urls()]

    def rate(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        image = self.get_object(request, str(pk))
        if image is None or not self.has_view_permission(request, image):
            raise Http404
        if not self.has_change_permission(request, image):
            raise PermissionDenied
        judge_image(image=image, rater=principal_of(request).owner_key, changes={"rating": read_rating(request)})
        return answer_rating(request, image.rating, reverse("admin:images_generatedimage_changelist"))

    def save_model(self, request: HttpRequest, obj: GeneratedImage, form: Any, change: bool) -> None:
        data = form.cleaned_data
        changes = {"favourite": data["favourite"], "tags": data["tag_names"]}
        if "rating" in form.changed_data:  # a form that is saved as it was rates nothing
            changes["rating"] = data["rating"]
        judge_image(image=obj, rater=principal_of(request).owner_key, changes=changes)

    def delete_model(self, request: HttpRequest, obj: GeneratedImage) -> None:
        delete_image(image=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> None:
        for image in queryset.select_related("file"):
            delete_image(image=image)

    @admin.action(description="Mark as favourites", permissions=["change"])
    def mark(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> None:
        self.message_user(request, f"{queryset.order_by().update(favourite=True)} marked.")

    @admin.action(description="No favourites any more", permissions=["change"])
    def unmark(self, request: HttpRequest, queryset: QuerySet[GeneratedImage]) -> None:
        self.message_user(request, f"{queryset.order_by().update(favourite=False)} unmarked.")


def picture_context(image: GeneratedImage) -> dict[str, object]:
    others = {name: value for name, value in image.parameters.items() if name not in COLUMNS}
    return {
        "title": "Picture",
        "subtitle": None,
        "sources": image.source_links.all(),
        "derived": image.derived.order_by("pk").distinct()[:MOST_DERIVED],
        "others": [(name, readable(value)) for name, value in others.items()],
        "parameters_json": pretty(image.parameters),
        "scores": sorted(image.scores.items()),
    }


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):
    search_fields = ["name"]
    paginator = CappedPaginator
    show_full_result_count = False
