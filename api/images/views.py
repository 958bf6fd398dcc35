"""Pictures over HTTP."""

import uuid
from typing import Any, cast

import django_filters
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.access.principals import visible_to
from api.access.scopes import Principal
from api.files.responses import file_response
from api.files.services import visible_file
from api.images.models import GeneratedImage, ImageSource
from api.images.seeds import LARGEST_SEED
from api.images.serializers import GeneratedImageSerializer, ImagePatchSerializer, Img2ImgSerializer, Txt2ImgSerializer
from api.images.services import delete_image, judge_image
from api.images.spec import LONGEST_MODEL_ID, LONGEST_TAG
from api.images.uploads import ImageUploadSerializer
from api.jobs.api.dialect import SubmitView
from api.queries import ChoiceFilter, GivenFilters, TimeFilter, WholeNumberFilter, YesNoFilter
from api.strict import JsonParser, NewestFirst, nearest

ORDERS = {
    "newest": ("-file_id",),
    "oldest": ("file_id",),
    "clip_score": ("-clip_score", "-file_id"),
    "rating": ("-rating", "-file_id"),
}


class Txt2ImgView(SubmitView):
    """Make pictures from a prompt."""

    serializer_class = Txt2ImgSerializer


class Img2ImgView(SubmitView):
    """Make pictures from a picture and a prompt; with a mask, paint only the white parts of it anew."""

    serializer_class = Img2ImgSerializer


class ImageFilter(GivenFilters):
    model_id = django_filters.CharFilter(max_length=LONGEST_MODEL_ID)
    seed = WholeNumberFilter(min_value=0, max_value=LARGEST_SEED)
    min_clip_score = django_filters.NumberFilter(field_name="clip_score", lookup_expr="gte", min_value=0, max_value=100)
    tag = django_filters.CharFilter(field_name="tags__name", max_length=LONGEST_TAG)
    rating = WholeNumberFilter(min_value=1, max_value=5)
    min_rating = WholeNumberFilter(field_name="rating", lookup_expr="gte", min_value=1, max_value=5)
    favourite = YesNoFilter()
    source = django_filters.UUIDFilter(method="filter_source", label="Pictures that were made from this one.")
    origin = ChoiceFilter(choices=GeneratedImage.Origin.choices)
    q = django_filters.CharFilter(field_name="prompt", lookup_expr="icontains", max_length=200)
    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = GeneratedImage
        fields: list[str] = []

    def filter_source(self, queryset: QuerySet[GeneratedImage], name: str, value: uuid.UUID) -> QuerySet[GeneratedImage]:
        return queryset.filter(pk__in=ImageSource.objects.filter(source=value).values("image"))


class ImagePages(NewestFirst):
    """`order`: newest (the default), oldest, clip_score or rating (the best first; pictures without one are left out)."""

    ordering = ORDERS["newest"]  # type: ignore[assignment]
    query_parameters = (*NewestFirst.query_parameters, "order")

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: object) -> tuple[str, ...]:
        order = request.query_params.get("order", "newest")
        if order not in ORDERS:
            raise ValidationError({"order": [f"There is no order '{order}'.{nearest(order, list(ORDERS))}"]})
        self.ordering = ORDERS[order]
        return ORDERS[order]


def with_a_value(images: QuerySet[GeneratedImage], order: str) -> QuerySet[GeneratedImage]:
    """Those that have what they are ordered by."""
    return images.filter(**{f"{order}__isnull": False}) if order in ("clip_score", "rating") else images


class ImageViewSet(
    mixins.RetrieveModelMixin, mixins.DestroyModelMixin, mixins.ListModelMixin, viewsets.GenericViewSet[GeneratedImage]
):
    """The pictures that were made, and those that were uploaded."""

    queryset = GeneratedImage.objects.select_related("file").prefetch_related("tags", "source_links")
    serializer_class = GeneratedImageSerializer
    pagination_class = ImagePages
    filter_backends = [DjangoFilterBackend]
    filterset_class = ImageFilter
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[GeneratedImage]:
        images = visible_to(cast(Principal, self.request.auth), super().get_queryset())
        order = self.request.query_params.get("order", "") if self.action == "list" else ""
        return with_a_value(images, order)

    @extend_schema(
        parameters=[OpenApiParameter("order", str, enum=list(ORDERS), default="newest", description=ImagePages.__doc__ or "")]
    )
    def list(self, request: Request, *args: object, **kwargs: object) -> Response:
        return super().list(request, *args, **kwargs)

    @property
    def refusals(self) -> tuple[int, ...]:
        """For the OpenAPI document."""
        return (429, 507) if self.action == "create" else ()

    def initialize_request(self, request: HttpRequest, *args: object, **kwargs: object) -> Request:
        """A form is for uploads alone."""
        self.parser_classes = APIView.parser_classes if request.method == "POST" else [JsonParser]
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(request=ImageUploadSerializer, responses={201: GeneratedImageSerializer})
    def create(self, request: Request) -> Response:
        """Upload a picture once, to use it by its id in every request."""
        serializer = ImageUploadSerializer(data=request.data, context={"principal": request.auth})
        serializer.is_valid(raise_exception=True)
        image = serializer.save()
        shown = self.get_serializer(self.get_queryset().get(pk=image.pk)).data
        return Response(shown, status=201, headers={"Location": request.build_absolute_uri(f"/api/images/{image.pk}/")})

    @extend_schema(request=ImagePatchSerializer, responses=GeneratedImageSerializer)
    def partial_update(self, request: Request, **kwargs: object) -> Response:
        """Rate it, mark it, tag it."""
        serializer = ImagePatchSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        rater = cast(Principal, request.auth).owner_key
        image = judge_image(image=self.get_object(), rater=rater, changes=serializer.validated_data)
        return Response(self.get_serializer(self.get_queryset().get(pk=image.pk)).data)

    def perform_destroy(self, image: GeneratedImage) -> None:
        delete_image(image=image)


class ImageFileView(APIView):
    """The picture itself. By id only: every path on the disk comes from a row."""

    thumbnail = False

    @extend_schema(responses={(200, "image/*"): OpenApiTypes.BINARY})
    def get(self, request: Request, id: uuid.UUID) -> HttpResponseBase:
        return file_response(request, visible_file(cast(Principal, request.auth), id), self.thumbnail)
