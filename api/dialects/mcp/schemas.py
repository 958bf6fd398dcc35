"""JSON Schemas of what tools take, read off the serializers and filters that read it."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import django_filters
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from api.queries import TimeFilter, WholeNumberFilter, YesNoFilter

Schema = dict[str, Any]
FOR_PROGRAMS = ("x-spec-enum-id", "format", "examples")
"""What an assistant has no use for."""


def object_schema(properties: Mapping[str, Schema], required: Iterable[str] = ()) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required), "additionalProperties": False}


def serializer_schema(serializer: serializers.Serializer[Any], names: Iterable[str], texts: Mapping[str, str]) -> Schema:
    """Of some of its fields; `texts` says of a field what its own help does not."""
    fields = {name: serializer.fields[name] for name in names}
    described = {name: describe(field_schema(field), texts.get(name, "")) for name, field in fields.items()}
    return object_schema(described, (name for name, field in fields.items() if field.required))


def describe(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text} if text else schema


def field_schema(field: Any) -> Schema:
    if isinstance(field, serializers.ListSerializer):
        return {
            **shared(field),
            "type": "array",
            "items": field_schema(field.child),
            **most(getattr(field, "max_length", None)),
        }
    if isinstance(field, serializers.BaseSerializer):
        inside = serializer_schema(field, field.fields, {})  # type: ignore[attr-defined, arg-type]
        return {**inside, **shared(field)}
    maker = AutoSchema()
    schema = maker._map_serializer_field(field, "request")
    maker._insert_field_validators(field, schema)  # lengths of texts
    return plain(schema)


def shared(field: Any) -> Schema:
    return {"description": str(field.help_text)} if field.help_text else {}


def most(length: int | None) -> Schema:
    return {"maxItems": length} if length else {}


def plain(schema: Schema) -> Schema:
    """Without null, which means "not given": an assistant leaves the field out."""
    kept = {name: value for name, value in schema.items() if name not in FOR_PROGRAMS}
    if isinstance(kept.get("type"), list):
        (kept["type"],) = [name for name in kept["type"] if name != "null"]
    if "enum" in kept:
        kept["enum"] = [value for value in kept["enum"] if value is not None]
    return kept


# ---------------------------------------------------------------- filters


@cache
def filters_schema(filters: type[django_filters.FilterSet]) -> dict[str, Schema]:
    return {name: filter_schema(one) for name, one in filters.base_filters.items()}


def filter_schema(one: django_filters.Filter) -> Schema:
    given = {
        "minimum": one.extra.get("min_value"),
        "maximum": one.extra.get("max_value"),
        "maxLength": one.extra.get("max_length"),
    }
    bounds = {name: value for name, value in given.items() if value is not None}
    return {"type": filter_type(one), **bounds, **choices_of(one)}


def filter_type(one: django_filters.Filter) -> str:
    match one:
        case YesNoFilter():
            return "boolean"
        case WholeNumberFilter():
            return "integer"
        case django_filters.NumberFilter():
            return "number"
    return "string"


def choices_of(one: django_filters.Filter) -> Schema:
    if isinstance(one, TimeFilter):
        return {"format": "date-time"}
    choices = one.extra.get("choices")
    return {"enum": [value for value, _ in choices]} if choices else {}
