"""Ratings, comparisons, and the scorers trained on them, over HTTP."""

from typing import Any, cast

import django_filters
from django.db.models import Q, QuerySet
from django.http import HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework import generics, mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.principals import visible_to
from api.access.scopes import READ, STAFF, Principal
from api.errors import DarkroomError
from api.jobs.api.dialect import SubmitView
from api.queries import ChoiceFilter, GivenFilters, WholeNumberFilter, YesNoFilter
from api.scoring.models import Comparison, CustomScorer, Rating
from api.scoring.spec import ON_CHOICES
from api.scoring.taste.scorers import UnknownCustomScorer, delete_scorers, find_scorer
from api.scoring.taste.serializers import (
    ComparisonSerializer,
    CustomScorerSerializer,
    GiveComparisonSerializer,
    GiveRatingSerializer,
    RatingSerializer,
    ScorerVersionsSerializer,
    TrainScorerSerializer,
)
from api.strict import JsonParser, NewestFirst


class RatingFilter(GivenFilters):
    image = django_filters.UUIDFilter(field_name="file")
    layout = django_filters.UUIDFilter(field_name="layout")
    rating = WholeNumberFilter(field_name="stars", min_value=1, max_value=5)
    rater = django_filters.CharFilter(field_name="owner_key", max_length=64)

    class Meta:
        model = Rating
        fields: list[str] = []


class ComparisonFilter(GivenFilters):
    image = django_filters.UUIDFilter(method="filter_image", label="one of its two images")
    layout = django_filters.UUIDFilter(method="filter_layout", label="one of its two layouts")
    rater = django_filters.CharFilter(field_name="owner_key", max_length=64)

    class Meta:
        model = Comparison
        fields: list[str] = []

    def filter_image(self, queryset: QuerySet[Comparison], name: str, value: Any) -> QuerySet[Comparison]:
        return queryset.filter(Q(file_a=value) | Q(file_b=value))

    def filter_layout(self, queryset: QuerySet[Comparison], name: str, value: Any) -> QuerySet[Comparison]:
        return queryset.filter(Q(layout_a=value) | Q(layout_b=value))


class JudgementViewSet(
    mixins.RetrieveModelMixin, mixins.DestroyModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet[Any]
):
    """What the requester has said; staff keys see what everybody has."""

    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    parser_classes = [JsonParser]
    lookup_value_converter = "uuid"
    writer: type[GiveRatingSerializer] | type[GiveComparisonSerializer]

    def get_queryset(self) -> Any:
        return visible_to(cast(Principal, self.request.auth), super().get_queryset())

    def write(self, request: Request) -> Response:
        serializer = self.writer(data=request.data, context={"principal": request.auth})
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(serializer.save()).data, status=201)


class RatingViewSet(JudgementViewSet):
    queryset = Rating.objects.all()
    serializer_class = RatingSerializer
    filterset_class = RatingFilter
    writer = GiveRatingSerializer

    @extend_schema(request=GiveRatingSerializer, responses={201: RatingSerializer})
    def create(self, request: Request) -> Response:
        """Give 1 to 5 stars to an image, or to a layout's score. Giving them again replaces the earlier ones."""
        return self.write(request)


class ComparisonViewSet(JudgementViewSet):
    queryset = Comparison.objects.all()
    serializer_class = ComparisonSerializer
    filterset_class = ComparisonFilter
    writer = GiveComparisonSerializer

    @extend_schema(request=GiveComparisonSerializer, responses={201: ComparisonSerializer})
    def create(self, request: Request) -> Response:
        """Say which of two images, or of two layouts, is preferred. Saying it again of the same two replaces what was said."""
        return self.write(request)


# ---------------------------------------------------------------- scorers


class ScorerFilter(GivenFilters):
    name = django_filters.CharFilter(max_length=50)
    on = ChoiceFilter(choices=ON_CHOICES)
    learned = YesNoFilter()

    class Meta:
        model = CustomScorer
        fields: list[str] = []


class ScorersView(mixins.ListModelMixin, SubmitView, generics.GenericAPIView[CustomScorer]):
    """The scorers that were trained here, each version of them; they serve everybody, so that staff alone trains and deletes them."""

    queryset = CustomScorer.objects.defer("taste")
    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    filterset_class = ScorerFilter
    parser_classes = [JsonParser]
    serializer_class = TrainScorerSerializer  # type: ignore[misc]

    @property
    def required_scope(self) -> str:  # type: ignore[override]
        return STAFF if self.request.method == "POST" else READ

    def get_serializer_class(self) -> Any:
        return CustomScorerSerializer if self.request.method == "GET" else TrainScorerSerializer

    @extend_schema(operation_id="scorers_list", responses=CustomScorerSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Newest first. The figures are of pictures that the fits had not seen."""
        return self.list(request)

    @extend_schema(operation_id="scorers_train")
    def post(self, request: Request, **kwargs: object) -> HttpResponseBase:
        """Train a scorer on the ratings and comparisons that there are. The job's result is its newest version, with its figures."""
        return super().post(request, **kwargs)


class ScorerView(APIView):
    """One scorer: NAME is its newest version, NAME@2 its second."""

    @property
    def required_scope(self) -> str:
        return STAFF if self.request.method == "DELETE" else READ

    @extend_schema(operation_id="scorers_retrieve", responses=ScorerVersionsSerializer)
    def get(self, request: Request, name: str) -> Response:
        try:
            return Response(ScorerVersionsSerializer(find_scorer(name)).data)
        except UnknownCustomScorer as error:
            raise not_found(error) from None

    @extend_schema(operation_id="scorers_destroy", responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """All versions of NAME, or the one of NAME@2. 409 while a job waits for it."""
        try:
            delete_scorers(name)
        except UnknownCustomScorer as error:
            raise not_found(error) from None
        return Response(status=204)


def not_found(error: UnknownCustomScorer) -> DarkroomError:
    return DarkroomError("not_found", 404, str(error))
