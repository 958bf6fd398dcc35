"""What a request may say of `best_of` and `rank_by`, and what this server can rank by."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.images.ranking import RankBy, weights_of
from api.runtime.judge_registry import FIGURES, UnknownJudge, has_prefix, kind_of, settle
from api.spec_serializers import register_field
from api.strict import nearest

LARGEST_WEIGHT = 1000.0
REGISTERED = r"^custom:[A-Za-z0-9_\-]{1,40}(@[1-9][0-9]{0,5})?$"
_WEIGHT = {"type": "number", "minimum": 0, "maximum": LARGEST_WEIGHT}
SCHEMA = {
    "oneOf": [
        {"type": "string", "enum": list(FIGURES)},
        {"type": "string", "pattern": REGISTERED},
        {
            "type": "object",
            "properties": dict.fromkeys(FIGURES, _WEIGHT),
            "patternProperties": {REGISTERED: _WEIGHT},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ],
    "description": (
        "What candidates are ranked by, with `best_of`: `clip` (the default, how well a picture fits its prompt), `aesthetic`, "
        "`layout`, `objects` (what a detector finds of what the prompt asks for), `custom:NAME` (a scorer that was trained here), "
        'or weights such as `{"clip": 0.5, "objects": 0.5}`. With '
        "weights each figure is first made comparable within the request: (x − mean) / SD over its candidates."
    ),
}


@extend_schema_field(SCHEMA)
class RankByField(serializers.Field[RankBy, object, RankBy, object]):
    """A criterion's name, or weights by name; in a form the weights are JSON text."""

    may_be_object = True

    def to_internal_value(self, data: object) -> RankBy:
        if isinstance(data, str):
            return check_name(data)
        if not isinstance(data, Mapping) or not data:
            raise ValidationError(f"Must be one of {', '.join(FIGURES)}, or weights by these names.", code="invalid")
        weights = {check_name(name): check_weight(name, weight) for name, weight in data.items()}
        if not any(weights.values()):
            raise ValidationError("One weight at least must be above 0.", code="no_weight")
        return weights

    def to_representation(self, value: object) -> Any:
        return value


register_field(RankBy, RankByField)


def check_name(name: object) -> str:
    """With nothing left open: custom:NAME becomes custom:NAME@VERSION. Raises ValidationError."""
    if isinstance(name, str) and has_prefix(name):
        try:
            return settle(name)
        except UnknownJudge as error:
            raise ValidationError(str(error), code="unknown") from None
    if name not in FIGURES:
        raise ValidationError(f"There is no '{str(name)[:40]}' to rank by.{nearest(str(name), list(FIGURES))}", code="unknown")
    return str(name)


def check_weight(name: str, weight: Any) -> float:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not is_number or not 0 <= weight <= LARGEST_WEIGHT:
        raise ValidationError(f"The weight of {name} must be a number from 0 to {LARGEST_WEIGHT:g}.", code="invalid_weight")
    return float(weight)


def check_best_of(data: dict[str, Any]) -> None:
    """`data` are a request's fields, each valid by itself."""
    best_of = data.get("best_of")
    if best_of is None:
        return
    if data["num_images"] > best_of:
        raise ValidationError({"num_images": [f"Of {best_of} candidates {best_of} can be kept at most."]}, code="too_many")
    for name in weights_of(data.get("rank_by", "clip")):
        if reason := kind_of(name).missing():
            raise ValidationError({"rank_by": [f"{name}: {reason}"]}, code="unavailable")
