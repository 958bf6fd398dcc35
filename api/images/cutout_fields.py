"""Reading `cutout` of a request for pictures."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.files.formats import FORMATS, join_words
from api.images.cutout_use import CutoutUse
from api.runtime.subject_cutting import get_cutter
from api.spec_serializers import SpecSerializer


class CutoutUseSerializer(SpecSerializer):
    spec = CutoutUse

    def validate_model_id(self, value: str) -> str:
        return get_cutter().settle(value)


def check_cutout(data: dict[str, Any]) -> None:
    """Raises ValidationError."""
    if data.get("cutout") is None:
        return
    if not data["cutout"].get("model_id"):
        try:
            get_cutter().settle(None)
        except ValidationError as error:
            raise ValidationError({"cutout": error.detail}) from None
    format = FORMATS[data["output_format"]]
    if not format.has_alpha:
        known = join_words(name for name, row in FORMATS.items() if row.has_alpha)
        detail = f"{format.label_with_article} has no transparency, which `cutout` needs: choose {known}."
        raise ValidationError({"output_format": [detail]}, code="no_transparency")


def decide_cutout(data: dict[str, Any]) -> dict[str, Any]:
    """With what the client left open."""
    if data.get("cutout") is None:
        return {}
    return {"cutout": {**data["cutout"], "model_id": data["cutout"].get("model_id") or get_cutter().settle(None)}}
