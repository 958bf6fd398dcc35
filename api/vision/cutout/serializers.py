"""What a request to cut a subject out may say."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.files.formats import FORMATS
from api.vision.cutout.spec import CUTOUT, PROMPTED, SEGMENTATION, CutoutSpec
from api.vision.serializers import VisionSerializer


class CutoutSerializer(VisionSerializer):
    spec = CutoutSpec
    tasks = (SEGMENTATION, PROMPTED)
    can = "cut subjects out"
    default_setting = "DEFAULT_CUTOUT_MODEL"

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["output"] == CUTOUT and not FORMATS[data["output_format"]].has_alpha:
            known = ", ".join(name for name, row in FORMATS.items() if row.has_alpha)
            detail = f"A {FORMATS[data['output_format']].label} has no transparency; these have: {known}."
            raise ValidationError({"output_format": [detail]}, code="no_transparency")
        return data
