"""What a request for a grid may say, and what an estimate of it tells."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.images.grids.cells import read_cells, set_by
from api.images.grids.estimate import counted
from api.images.grids.presets import write_presets, written_out
from api.images.grids.spec import GridAxis, GridSpec, ImageRequestJson, JsonValue, as_changes
from api.images.presets.applying import PRESET
from api.images.serializers import Txt2ImgSerializer
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.json_types import JsonObject
from api.spec_serializers import register_field
from api.specs import as_json, field_of, read_field

READ_FROM_PROMPTS = ("loras", "prompt_syntax")


@extend_schema_field({"type": "object", "additionalProperties": True, "examples": [{"prompt": "A serene lake at sunset"}]})
class ImageRequestField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            raise ValidationError("Must be an object, as POST /api/txt2img/ takes it.", code="invalid")
        return value


def build_value(**options: Any) -> serializers.JSONField:
    return serializers.JSONField(**{**options, "allow_null": True})


register_field(JsonValue, build_value)
register_field(ImageRequestJson, ImageRequestField)


class GridSerializer(JobRequest):
    spec: ClassVar[type[GridSpec]] = GridSpec

    priority = Txt2ImgSerializer._declared_fields["priority"]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        axes: tuple[GridAxis, ...] = read_field(field_of(GridSpec, "axes"), data["axes"])
        self.cells = read_cells(data["request"], axes, self.context)
        return data

    def resolve(self) -> Submission:
        data = self.validated_data
        cells = [spec.to_json() for spec in self.cells.specs]
        request, settled_axes = self.settled_request(cells)
        spec = GridSpec.from_json(
            {
                "request": request,
                "axes": as_json(settled_axes),
                "output_format": data["output_format"],
                "cells": as_changes(cells),
            }
        )
        axes = as_json(self.cells.sent_axes)
        fingerprint = {"request": self.cells.fingerprint, "axes": axes, "output_format": data["output_format"]}
        warnings = tuple(counted(self.cells.warnings))
        return Submission(spec, priority=data["priority"], fingerprint=fingerprint, warnings=warnings)

    def settled_request(self, cells: list[JsonObject]) -> tuple[JsonObject, list[GridAxis]]:
        """What the client sent, what its preset sets, and all that was decided alike for all cells. Posted again it makes the same."""
        first, *others = cells
        varied = {axis.name for axis in self.cells.axes}
        varied |= {name for preset in self.cells.presets.values() for name in preset.request}
        varied |= {name for axis in self.cells.axes for place in range(len(axis.values)) for name in set_by(axis, place)}
        if varied & {"prompt", "negative_prompt"}:
            varied |= set(READ_FROM_PROMPTS)
        common = {
            name: value
            for name, value in first.items()
            if value is not None and name not in varied and all(other.get(name) == value for other in others)
        }
        if self.cells.preset is None:
            return {**self.cells.request, **common}, [write_presets(axis, self.cells.presets) for axis in self.cells.axes]
        del common[PRESET]
        request, axes = written_out(self.cells.preset, self.cells.request, self.cells.axes)
        return {**request, **common}, axes


# ---------------------------------------------------------------- the estimate


class ModelEstimateSerializer(serializers.Serializer[object]):
    model_id = serializers.CharField()
    cells = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True, help_text="null where the history has no picture of this model.")


class GridEstimateSerializer(serializers.Serializer[object]):
    """What a grid comes to, before it is asked for."""

    cells = serializers.IntegerField(help_text="Each is a job, beside the grid's own.")
    columns = serializers.IntegerField()
    rows = serializers.IntegerField()
    sheets = serializers.IntegerField()
    steps = serializers.IntegerField(help_text="Of all cells.")
    models = ModelEstimateSerializer(many=True)
    seconds = serializers.FloatField(
        allow_null=True,
        help_text="Without loading, by how long the newest pictures of these models took; null where one of them has made none.",
    )
    width = serializers.IntegerField(help_text="Of the picture with labels.")
    height = serializers.IntegerField()
    scale = serializers.FloatField(help_text="1 where the cells are shown at their size.")
    warnings = serializers.ListField(child=serializers.CharField())
