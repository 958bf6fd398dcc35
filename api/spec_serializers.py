"""Serializers made from specs: what a client may send is read off the dataclass, and written nowhere else."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, is_dataclass, replace
from typing import Any, ClassVar

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.specs import Rule, SpecField, fields_of
from api.strict import ChoiceField, FiniteFloatField, KnownNameField, StrictSerializer, TextMapField

AnyField = serializers.Field[Any, Any, Any, Any]
"""Of whatever value: DRF's fields are invariant in all four of their types."""
Builder = Callable[..., AnyField]
"""Called with the options of a DRF field (required, default, allow_null, help_text …)."""

_builders: dict[Any, Builder] = {}
_nested: dict[Any, type["SpecSerializer"]] = {}
"""By dataclass: the serializer that was declared for it, or made."""


def register_field(type: object, builder: Builder) -> None:
    """How a type that only one app knows is read, e.g. an input picture."""
    _builders[type] = builder


class SpecSerializer(StrictSerializer):
    """The serializer of `spec`: its fields, in their order. What a subclass declares itself is added, or takes a derived field's place."""

    spec: ClassVar[type[Any]]

    _derived: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if spec := getattr(cls, "spec", None):
            if spec in _nested and not issubclass(cls, _nested[spec]):
                raise TypeError(
                    f"{spec.__name__} is nested with {_nested[spec].__name__} already; declare {cls.__name__} before that."
                )
            _nested.setdefault(spec, cls)
            if cls.__doc__ is None:
                cls.__doc__ = spec.__doc__
            of_parents = [field for parent in cls.__mro__ for field in vars(parent).get("_derived", {}).values()]
            declared = {name: field for name, field in cls._declared_fields.items() if field not in of_parents}
            cls._derived = build_fields(spec, besides=declared)
            fields = {**cls._derived, **declared}
            named = {one.name: fields[one.name] for one in fields_of(spec) if one.name in fields}
            cls._declared_fields = {**named, **declared}


def build_fields(spec: type[Any], *, besides: Collection[str] = ()) -> dict[str, AnyField]:
    return {one.name: build_field(one) for one in fields_of(spec) if not one.rule.internal and one.name not in besides}


def build_field(field: SpecField) -> AnyField:
    """Raises TypeError for a type that nobody has registered."""
    if builder := _builders.get(field.type):
        return builder(**options_of(field))
    if field.member is not None:
        return build_list(field, field.member)
    if is_dataclass(field.type):
        return nested(field.type)(**options_of(field))  # type: ignore[arg-type]
    return build_plain(field, **options_of(field))


def options_of(field: SpecField) -> dict[str, Any]:
    options: dict[str, Any] = {"help_text": field.rule.help} if field.rule.help else {}
    if field.required:
        return options
    is_left_out = field.rule.decided or field.default is MISSING or field.default is None or is_dataclass(field.default)
    return {**options, "required": False} if is_left_out else {**options, "default": field.default}


def build_plain(field: SpecField, **options: Any) -> AnyField:
    rule = field.rule
    if rule.choices:
        return ChoiceField(choices=rule.labelled_choices, **options)
    if rule.known:
        return KnownNameField(known=rule.known, max_length=rule.max_length, **options)
    if rule.slug:
        return serializers.SlugField(max_length=rule.max_length, **options)
    if field.type is str:
        return serializers.CharField(max_length=rule.max_length, allow_blank=rule.blank, **options)
    if field.type is bool:
        return serializers.BooleanField(**options)
    if field.type is float:
        return FiniteFloatField(min_value=rule.minimum, max_value=rule.maximum, **options)
    if field.type is int:
        return build_integer(rule, **options)
    if field.type == Mapping[str, str]:
        text = serializers.CharField(max_length=rule.max_length, allow_blank=True)
        return TextMapField(child=text, max_items=rule.max_items, max_name_length=rule.max_name_length, **options)
    raise TypeError(f"{field.name}: no serializer field is registered for {field.type}")


def build_integer(rule: Rule, **options: Any) -> AnyField:
    options |= {"min_value": rule.minimum, "max_value": rule.maximum}
    return SteppedField(multiple_of=rule.multiple_of, **options) if rule.multiple_of else serializers.IntegerField(**options)


def build_list(field: SpecField, member: object) -> AnyField:
    options = {**options_of(field), "min_length": field.rule.min_items, "max_length": field.rule.max_items}
    if field.default == ():
        options["default"] = list
    if is_dataclass(member):
        return nested(member)(many=True, **options)  # type: ignore[arg-type]
    child = build_field(replace(field, type=member, default=MISSING, rule=replace(field.rule, help="", decided=False)))
    return serializers.ListField(child=child, **options)


def nested(cls: type[Any]) -> type["SpecSerializer"]:
    if cls not in _nested:
        type(f"{cls.__name__}Serializer", (SpecSerializer,), {"spec": cls, "__doc__": cls.__doc__})
    return _nested[cls]


class SteppedField(serializers.IntegerField):
    """A multiple of a number."""

    def __init__(self, *, multiple_of: int, **options: Any) -> None:
        super().__init__(**options)
        self.multiple_of = multiple_of
        self.validators.append(self.check_step)

    def check_step(self, value: int) -> None:
        step, low, high = self.multiple_of, self.min_value, self.max_value
        in_range = (low is None or value >= low) and (high is None or value <= high)  # else that is the error
        if in_range and value % step:
            below = value // step * step
            raise ValidationError(
                f"Must be a multiple of {step} from {low} to {high}; {below} and {below + step} are the nearest.",
                code="invalid",
            )


class SteppedSchema(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """In JSON schemas."""

    target_class = SteppedField

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        bounds = {"minimum": self.target.min_value, "maximum": self.target.max_value, "multipleOf": self.target.multiple_of}
        return {"type": "integer", **{name: value for name, value in bounds.items() if value is not None}}
