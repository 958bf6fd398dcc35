"""Scores over HTTP."""

from typing import cast

import django_filters
from django.db.models import Q, QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import mixins, viewsets
from rest_framework.exceptions import ValidationError

from api.access.principals import visible_to
from api.access.scopes import Principal
from api.jobs.api.dialect import SubmitView
from api.queries import GivenFilters, TimeFilter
from api.scoring.models import LayoutScore
from api.scoring.scorers import UnknownScorer, find_backend
from api.scoring.serializers import ClipScoreSerializer, LayoutScoreSerializer, ScoreBatchSerializer, ScoreSerializer
from api.scoring.spec import LONGEST_BACKEND
from api.strict import NewestFirst


class ScoreView(SubmitView):
    """Judge a layout: a picture of it, its Tailwind classes and texts, or both.

    The job's result has `aesthetic_score`, `composition_score`, `color_harmony_score` and `balance_score` (0-100, null where
    nothing speaks for or against, or where the backend has no such score), `reasoning` (sentences, the worst first), `measures` (each
    with its `value`, its own `score` from 0 to 100 and its `band`), `scored` (what counted: image, variant), `backend`, `model`,
    `device`, `duration` (seconds) and, with an image, `overlay_url`: what was seen, drawn over the picture.
    """

    serializer_class = ScoreSerializer


class ScoreBatchView(SubmitView):
    """Judge up to 64 layouts as one job. A picture that several share is looked at once. The result has `scores`, in order."""

    serializer_class = ScoreBatchSerializer


class ClipScoreView(SubmitView):
    """How well pictures fit prompts, by a CLIP model: every image (1-64) against every prompt (1-64).

    The job's result has `model`, `images` (their ids) and `prompts` as they were asked, and `scores[i][j]` of the i-th image and the j-th
    prompt: `clip_cosine` (-1 to 1), `clip_model`, `clip_score` (100·max(cosine, 0)) and `clip_score_hessel` (250·max(cosine, 0)).
    Cosines of different models are not comparable. With `pairs: true` there are as many prompts as images, and `pairs[i]` has
    the figures of the i-th with the i-th. `truncated` has the places of prompts that are longer than the model reads.
    """

    serializer_class = ClipScoreSerializer


def bound(name: str, lookup: str) -> django_filters.NumberFilter:
    return django_filters.NumberFilter(field_name=name, lookup_expr=lookup, min_value=0, max_value=100)


class LayoutScoreFilter(GivenFilters):
    """`min_…` and `max_…` of a headline score leave out the verdicts that have none."""

    backend = django_filters.CharFilter(max_length=LONGEST_BACKEND, method="filter_backend")
    image = django_filters.UUIDFilter(field_name="image_id")
    min_aesthetic_score = bound("aesthetic_score", "gte")
    max_aesthetic_score = bound("aesthetic_score", "lte")
    min_composition_score = bound("composition_score", "gte")
    max_composition_score = bound("composition_score", "lte")
    min_color_harmony_score = bound("color_harmony_score", "gte")
    max_color_harmony_score = bound("color_harmony_score", "lte")
    min_balance_score = bound("balance_score", "gte")
    max_balance_score = bound("balance_score", "lte")
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = LayoutScore
        fields: list[str] = []

    def filter_backend(self, queryset: QuerySet[LayoutScore], name: str, value: str) -> QuerySet[LayoutScore]:
        """`custom` finds all of custom:NAME@VERSION, and `custom:NAME` all of its versions."""
        try:
            find_backend(value)
        except UnknownScorer as error:
            raise ValidationError({"backend": [str(error)]}, code="unknown_backend") from None
        return queryset.filter(Q(backend=value) | Q(backend__startswith=f"{value}:") | Q(backend__startswith=f"{value}@"))


class LayoutScoreViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet[LayoutScore]):
    """The layouts that were judged, newest first."""

    queryset = LayoutScore.objects.all()
    serializer_class = LayoutScoreSerializer
    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    filterset_class = LayoutScoreFilter
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[LayoutScore]:
        return visible_to(cast(Principal, self.request.auth), super().get_queryset())
