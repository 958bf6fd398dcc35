"""Presets over HTTP, by their names."""

from typing import Any, cast

from django.db.models import QuerySet
from django.http import Http404
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, viewsets
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from api.access.scopes import Principal
from api.images.models import Preset, PresetVersion
from api.images.presets.serializers import (
    NewPresetSerializer,
    PresetChangeSerializer,
    PresetDetailSerializer,
    PresetSerializer,
)
from api.images.presets.services import (
    UnknownPreset,
    change_preset,
    create_preset,
    find_same,
    find_version,
    may_change,
    usable_by,
)
from api.queries import GivenFilters, YesNoFilter
from api.strict import JsonParser, NewestFirst


class PresetFilter(GivenFilters):
    shared = YesNoFilter()

    class Meta:
        model = Preset
        fields: list[str] = []


class PresetViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Preset]):
    """Requests with a name: one's own, and the shared ones."""

    queryset = Preset.objects.all()
    serializer_class = PresetSerializer
    pagination_class = NewestFirst
    filter_backends = [DjangoFilterBackend]
    filterset_class = PresetFilter
    parser_classes = [JsonParser]
    lookup_field = "name"
    lookup_value_converter = "str"

    @property
    def principal(self) -> Principal:
        return cast(Principal, self.request.auth)

    def get_queryset(self) -> QuerySet[Preset]:
        return usable_by(self.principal.owner_key)

    def find(self, reference: str) -> PresetVersion:
        try:
            return find_version(reference, self.principal.owner_key)
        except UnknownPreset:
            raise Http404 from None

    def find_to_change(self, name: str) -> Preset:
        preset = self.find(name).preset
        if name != preset.name:
            raise Http404
        if not may_change(preset, self.principal):
            raise PermissionDenied("Only its owner, or a key of the scope 'staff', may change a shared preset.")
        return preset

    def show(self, version: PresetVersion, status: int = 200) -> Response:
        shown = PresetDetailSerializer(version.preset, context={"request": self.request, "version": version}).data
        headers = {"Location": self.request.build_absolute_uri(f"/api/presets/{version.preset.name}/")} if status == 201 else {}
        return Response(shown, status=status, headers=headers)

    @extend_schema(request=NewPresetSerializer, responses={201: PresetDetailSerializer, 200: PresetDetailSerializer})
    def create(self, request: Request) -> Response:
        """Give a request a name. 200 where you have that very preset already."""
        data = self.read(NewPresetSerializer, request)
        if (same := find_same(owner_key=self.principal.owner_key, **data)) is not None:
            return self.show(same)
        preset = create_preset(owner_key=self.principal.owner_key, **data)
        return self.show(preset.versions.get(number=preset.last_version), 201)

    @extend_schema(responses=PresetDetailSerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        """In its newest version; with @ and a number behind the name, in that one."""
        return self.show(self.find(name))

    @extend_schema(request=PresetChangeSerializer, responses=PresetDetailSerializer)
    def update(self, request: Request, name: str) -> Response:
        """What is different makes a new version; requests that name an older one still get that."""
        data = self.read(PresetChangeSerializer, request)
        preset = change_preset(preset=self.find_to_change(name), by=self.principal.owner_key, **data)
        return self.show(preset.versions.get(number=preset.last_version))

    def destroy(self, request: Request, name: str) -> Response:
        """With all its versions. Jobs that began with it stay as they are."""
        self.find_to_change(name).delete()
        return Response(status=204)

    def read(self, serializer_class: type[PresetChangeSerializer], request: Request) -> dict[str, Any]:
        serializer = serializer_class(data=request.data, context={"principal": request.auth})
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data  # type: ignore[no-any-return]
