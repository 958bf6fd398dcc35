"""Stars, choices and scorers for people: a page that compares two, a list of what was said, and what was learned from it."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from api.access.principals import principal_of
from api.errors import DarkroomError
from api.jobs.admin import ReadOnlyAdmin
from api.jobs.admin.tools import MadeFilter
from api.jobs.api.submission import submit
from api.problems import field_errors
from api.scoring.models import Comparison, CustomScorer, Rating
from api.scoring.spec import ONS
from api.scoring.taste.charts import correlation_text, curve_chart, share_text
from api.scoring.taste.choosing import keep_choice, last_choice, pair_to_show, words_of_both
from api.scoring.taste.features import pair_of
from api.scoring.taste.judgements import comparisons_on
from api.scoring.taste.scorers import delete_scorers
from api.scoring.taste.serializers import TrainScorerSerializer
from api.scoring.taste.training import LEAST, advise, judgements_that_teach


class OnFilter(admin.SimpleListFilter):
    title = "subject"
    parameter_name = "on"
    field = ""

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("images", "Pictures"), ("layouts", "Layouts")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.field}__isnull": self.value() == "images"}) if self.value() in ONS else queryset


class RatedFilter(OnFilter):
    field = "layout"


class ComparedFilter(OnFilter):
    field = "layout_a"


class ScorerOnFilter(OnFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(on=self.value()) if self.value() in ONS else queryset


class SaidAdmin(ReadOnlyAdmin):
    """What people said; it can be taken back here, and said on the pages of what it is about."""

    search_fields = ["=owner_key"]
    search_help_text = "A rater, as `local` or `user:1`."

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return request.user.has_perm(f"scoring.delete_{self.opts.model_name}")  # type: ignore[union-attr]


@admin.register(Rating)
class RatingAdmin(SaidAdmin):
    list_display = ["picture", "said", "owner_key", "rated_at"]
    list_display_links = ["said"]
    list_filter = [RatedFilter, "stars", MadeFilter]
    list_select_related = ["layout"]
    fields = readonly_fields = ("picture", "said", "owner_key", "rated_at")

    @admin.display(description="")
    def picture(self, rating: Rating) -> SafeString:
        return thumbnail(rating.file_id or (rating.layout.image_id if rating.layout else None))

    @admin.display(description="stars")
    def said(self, rating: Rating) -> str:
        return str(rating)


@admin.register(Comparison)
class ComparisonAdmin(SaidAdmin):
    list_display = ["one", "other", "said", "owner_key", "compared_at"]
    list_display_links = ["said"]
    list_filter = [ComparedFilter, MadeFilter]
    list_select_related = ["layout_a", "layout_b"]
    fields = readonly_fields = ("one", "other", "said", "owner_key", "compared_at")

    @admin.display(description="a")
    def one(self, comparison: Comparison) -> SafeString:
        return thumbnail(comparison.file_a_id or (comparison.layout_a.image_id if comparison.layout_a else None))

    @admin.display(description="b")
    def other(self, comparison: Comparison) -> SafeString:
        return thumbnail(comparison.file_b_id or (comparison.layout_b.image_id if comparison.layout_b else None))

    @admin.display(description="preferred")
    def said(self, comparison: Comparison) -> str:
        return {Comparison.Outcome.A: "a", Comparison.Outcome.B: "b"}.get(Comparison.Outcome(comparison.outcome), "neither")

    # ------------------------------------------------------------ the page that compares

    def get_urls(self) -> list[URLPattern]:
        return [
            path("compare/", self.admin_site.admin_view(self.compare_view), name="scoring_comparison_compare"),
            *super().get_urls(),
        ]

    def compare_view(self, request: HttpRequest) -> HttpResponseBase:
        if not request.user.has_perm("scoring.add_comparison"):  # type: ignore[union-attr]
            raise PermissionDenied
        if request.method == "POST":
            return self.keep_choice(request)
        on = request.GET.get("on", "")
        return self.show_pair(request, on if on in ONS else "images")

    def keep_choice(self, request: HttpRequest) -> HttpResponse:
        on, choice = request.POST.get("on", ""), request.POST.get("choice", "")
        try:
            keep_choice(principal_of(request), on, request.POST.getlist("shown"), choice)
        except ValidationError:
            raise Http404 from None
        return HttpResponseRedirect(f"{reverse('admin:scoring_comparison_compare')}?on={on}")

    def show_pair(self, request: HttpRequest, on: str) -> HttpResponse:
        principal = principal_of(request)
        pair = pair_to_show(principal, on, [request.GET[name] for name in ("a", "b") if name in request.GET])
        last = last_choice(principal, on)
        advice, is_enough = advise(on)
        context = {
            "title": "Compare",
            "opts": self.opts,
            "kinds": ONS,
            "on": on,
            "pair": pair,
            "same": words_of_both(pair),
            "last": pair_of(last) if last else None,
            "done": comparisons_on(on, [principal.owner_key]).count(),
            "advice": advice,
            "is_enough": is_enough,
        }
        page = TemplateResponse(
            request, "admin/scoring/comparison/compare.html", {**self.admin_site.each_context(request), **context}
        )
        page["Cache-Control"] = "private, no-store"
        return page


def thumbnail(file_id: uuid.UUID | None) -> SafeString:
    if file_id is None:
        return SafeString('<span class="list-picture"></span>')
    address = reverse("image-thumbnail", args=[file_id])
    return format_html('<img class="list-picture" src="{}" alt="" width="48" height="48" loading="lazy">', address)


# ---------------------------------------------------------------- scorers


@admin.register(CustomScorer)
class CustomScorerAdmin(ReadOnlyAdmin):
    list_display = ["scorer", "on", "verdict", "accuracy", "correlation", "lessons", "created_at"]
    list_filter = [ScorerOnFilter, "learned"]
    search_fields = ["name"]
    change_list_template = "admin/scoring/customscorer/change_list.html"
    change_form_template = "admin/scoring/customscorer/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CustomScorer]:
        return super().get_queryset(request).defer("taste")

    @admin.display(description="scorer")
    def scorer(self, scorer: CustomScorer) -> str:
        return f"custom:{scorer}"

    @admin.display(description="learned", boolean=True)
    def verdict(self, scorer: CustomScorer) -> bool:
        return scorer.learned

    @admin.display(description="pair accuracy")
    def accuracy(self, scorer: CustomScorer) -> str:
        return share_text(scorer.figures["pair_accuracy"])

    @admin.display(description="rank correlation")
    def correlation(self, scorer: CustomScorer) -> str:
        return correlation_text(scorer.figures["rank_correlation"])

    @admin.display(description="judgements")
    def lessons(self, scorer: CustomScorer) -> int:
        return scorer.ratings + scorer.comparisons

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        counted = {on: judgements_that_teach(on) for on in ONS}
        more = {"may_train": self.may_train(request), "counted": counted, "least": LEAST}
        return super().changelist_view(request, {**more, **(extra_context or {})})

    def render_change_form(
        self, request: HttpRequest, context: Any, add: bool = False, change: bool = False, form_url: str = "", obj: Any = None
    ) -> Any:
        context = {**context, **scorer_context(obj), "may_remove": self.may_remove(request)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    # ------------------------------------------------------------ what can be done

    def may_train(self, request: HttpRequest) -> bool:
        return request.user.has_perm("scoring.add_customscorer")  # type: ignore[union-attr]

    def may_remove(self, request: HttpRequest) -> bool:
        return request.user.has_perm("scoring.delete_customscorer")  # type: ignore[union-attr]

    def get_urls(self) -> list[URLPattern]:
        train, remove = (self.admin_site.admin_view(require_POST(view)) for view in (self.train, self.remove))
        own = [
            path("train/", train, name="scoring_customscorer_train"),
            path("<uuid:pk>/remove/", remove, name="scoring_customscorer_remove"),
        ]
        return own + super().get_urls()

    def train(self, request: HttpRequest) -> HttpResponse:
        if not self.may_train(request):
            raise PermissionDenied
        serializer = TrainScorerSerializer(data={name: request.POST.get(name, "") for name in ("name", "on")})
        try:
            serializer.is_valid(raise_exception=True)
            job = submit(serializer.resolve(), principal=principal_of(request), source="admin")
        except ValidationError as error:
            for wrong in field_errors(error.detail):
                self.message_user(request, wrong["detail"], messages.ERROR)
        except DarkroomError as problem:
            self.message_user(request, problem.detail, messages.ERROR)
        else:
            return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))
        return HttpResponseRedirect(reverse("admin:scoring_customscorer_changelist"))

    def remove(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        if not self.may_remove(request):
            raise PermissionDenied
        scorer = CustomScorer.objects.filter(pk=pk).first()
        if scorer is None:
            raise Http404
        try:
            delete_scorers(str(scorer))
        except DarkroomError as problem:
            self.message_user(request, problem.detail, messages.ERROR)
            return HttpResponseRedirect(reverse("admin:scoring_customscorer_change", args=[pk]))
        self.message_user(request, f"custom:{scorer} is deleted.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:scoring_customscorer_changelist"))


def scorer_context(scorer: CustomScorer) -> dict[str, object]:
    weights = scorer.figures["weights"]
    largest = max((abs(weight) for weight in weights.values()), default=0.0) or 1.0
    return {
        "title": f"custom:{scorer}",
        "subtitle": None,
        "accuracy": share_text(scorer.figures["pair_accuracy"]),
        "correlation": correlation_text(scorer.figures["rank_correlation"]),
        "lessons": scorer.ratings + scorer.comparisons,
        "chart": curve_chart(scorer.figures["learning_curve"]),
        "weights": [(name.replace("_", " "), weight, round(48 * abs(weight) / largest, 1)) for name, weight in weights.items()],
        "others": CustomScorer.objects.filter(name=scorer.name)
        .exclude(pk=scorer.pk)
        .only("pk", "version")
        .order_by("-version"),
    }
