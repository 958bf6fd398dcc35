"""What may be said of a preset, and how one is shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.images.models import Preset, PresetVersion
from api.images.presets.applying import PRESET, TEXTS, place_in
from api.images.serializers import Img2ImgSerializer
from api.images.spec import LONGEST_PRESET_NAME
from api.json_types import JsonObject
from api.specs import INPUTS, SpecField, fields_of, is_nested
from api.strict import StrictSerializer, nearest

LONGEST_DESCRIPTION = 500
OF_THE_CALL = (PRESET, "variation", "priority", "webhook")
"""Fields that say something of one request alone."""
SAMPLE = "a picture"


def holds_picture(field: SpecField) -> bool:
    held = field.member or field.type
    return held in INPUTS or (is_nested(held) and any(holds_picture(one) for one in fields_of(held)))


PICTURES = tuple(one.name for one in fields_of(Img2ImgSerializer.spec) if holds_picture(one))


class PresetRequestSerializer(Img2ImgSerializer):
    """The fields that a preset may set."""

    def get_fields(self) -> dict[str, Any]:
        return {name: field for name, field in super().get_fields().items() if name not in (*PICTURES, *OF_THE_CALL)}

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().validate({**data, "control": [], "ip_adapter": []})


def check_request(request: Mapping[str, Any], parameters: Sequence[str], principal: Principal | None) -> JsonObject:
    """The request as it is kept. Raises ValidationError, its fields under `request`, or `parameters`."""
    for name in request:
        if name in PICTURES:
            raise ValidationError(
                {"request": {name: ["A preset holds no pictures: each request sends its own."]}}, code="picture"
            )
        if name in OF_THE_CALL:
            raise ValidationError({"request": {name: ["This is said by each request alone."]}}, code="of_the_call")
    request = {name: value for name, value in request.items() if value is not None}
    sample = {"prompt": SAMPLE, **request}
    for name in TEXTS:
        if isinstance(sample.get(name), str):
            sample[name] = sample[name].replace(place_in(name), SAMPLE)
    serializer = PresetRequestSerializer(data=sample, context={"principal": principal})
    if not serializer.is_valid():
        raise ValidationError({"request": serializer.errors})
    if not request:
        raise ValidationError({"request": ["A preset sets one field at least."]}, code="empty")
    for name in parameters:
        if name not in request:
            detail = f"'{name}' is no field that this preset sets.{nearest(name, list(request))}"
            raise ValidationError({"parameters": [detail]}, code="unknown_field")
    return request


class PresetChangeSerializer(StrictSerializer):
    """What a preset is to be."""

    description = serializers.CharField(max_length=LONGEST_DESCRIPTION, allow_blank=True, default="")
    shared = serializers.BooleanField(
        default=False, help_text="Whether every key may name it; for keys of the scope `staff`. Its name is then taken for all."
    )
    request = serializers.DictField(
        help_text="Fields of POST /api/txt2img/ or /api/img2img/, all but pictures. A request that names the preset begins with them. "
        "`{prompt}` in `prompt` (and `{negative_prompt}` in `negative_prompt`) is where its own words go."
    )
    parameters = serializers.ListField(
        child=serializers.CharField(max_length=100),
        default=list,
        max_length=100,
        help_text="Which of these fields a request may change; what the preset does not set is open.",
    )

    def validate_shared(self, value: bool) -> bool:
        principal: Principal = self.context["principal"]
        if value and not principal.is_staff:
            raise ValidationError("A key needs the scope 'staff' to share a preset.", code="staff_only")
        return value

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        parameters = list(dict.fromkeys(data["parameters"]))
        request = check_request(data["request"], parameters, self.context["principal"])
        return {**data, "parameters": parameters, "request": request}


class NewPresetSerializer(PresetChangeSerializer):
    """A preset to be made."""

    name = serializers.SlugField(max_length=LONGEST_PRESET_NAME, help_text="Letters, digits, - and _.")


class PresetVersionSerializer(serializers.ModelSerializer[PresetVersion]):
    version = serializers.IntegerField(source="number")

    class Meta:
        model = PresetVersion
        fields = ("version", "created_at")
        read_only_fields = fields


class PresetSerializer(serializers.ModelSerializer[Preset]):
    """In its newest version, or in the one that the address named."""

    version = serializers.SerializerMethodField()
    own = serializers.SerializerMethodField(help_text="Whether it belongs to the key that asks.")
    request = serializers.SerializerMethodField()
    parameters = serializers.SerializerMethodField()

    class Meta:
        model = Preset
        fields = ("name", "version", "own", "shared", "description", "request", "parameters", "created_at", "changed_at")
        read_only_fields = fields

    def shown(self, preset: Preset) -> PresetVersion:
        version: PresetVersion = self.context.get("version") or preset.current[0]  # type: ignore[attr-defined]
        return version

    def get_version(self, preset: Preset) -> int:
        return self.shown(preset).number

    def get_own(self, preset: Preset) -> bool:
        return bool(preset.owner_key == self.context["request"].auth.owner_key)

    def get_request(self, preset: Preset) -> dict[str, Any]:
        return self.shown(preset).request  # type: ignore[no-any-return]

    def get_parameters(self, preset: Preset) -> list[str]:
        return self.shown(preset).parameters  # type: ignore[no-any-return]


class PresetDetailSerializer(PresetSerializer):
    versions = PresetVersionSerializer(many=True, read_only=True)

    class Meta(PresetSerializer.Meta):
        fields = (*PresetSerializer.Meta.fields, "versions")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]
