"""What a request to cut a subject out may say."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.files.formats import FORMATS
from api.vision.cutout.spec import CUTOUT, PROMPTED, SEGMENTATION, CutoutSpec
from api.vision.serializers import VisionSerializer
from config.catalog import get_catalog


class CutoutSerializer(VisionSerializer):
    spec = CutoutSpec
    tasks = (SEGMENTATION, PROMPTED)
    can = "cut subjects out"
    default_setting = "DEFAULT_CUTOUT_MODEL"

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["output"] == CUTOUT and not FORMATS[data["output_format"]].has_alpha:
            known = ", ".join(name for name, row in FORMATS.items() if row.has_alpha)
            detail = f"{FORMATS[data['output_format']].label_with_article} has no transparency; these have: {known}."
            raise ValidationError({"output_format": [detail]}, code="no_transparency")
        self.check_place(data)
        return data

    def check_place(self, data: dict[str, Any]) -> None:
        """Where the subject is must be said to a model that needs it, and be in the picture."""
        entry, box, points = get_catalog().get(data.get("model_id", self.default_model)), data.get("box"), data.get("points")
        if entry.task == PROMPTED and not box and not points:
            detail = f"{entry.name} is told where the subject is: by a box, as POST /api/detect/ gives them, or by points."
            raise ValidationError({"box": [detail]}, code="required")
        width, height = data["image"].width, data["image"].height
        size = f"The picture has {width} × {height} pixels."
        if box and not (box["xmin"] < box["xmax"] <= width and box["ymin"] < box["ymax"] <= height):
            raise ValidationError(
                {"box": [f"xmin must be below xmax, ymin below ymax, and both in it. {size}"]}, code="invalid"
            )
        if outside := [place for place, point in enumerate(points or ()) if point["x"] > width or point["y"] > height]:
            raise ValidationError({"points": {str(outside[0]): [f"It is outside. {size}"]}}, code="invalid")
