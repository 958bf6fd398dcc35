"""`hires` and `upscale` of a request for pictures: what they may say, for the model and the size that the request has."""

from typing import Any

from rest_framework.exceptions import ValidationError

from api.catalog import ModelEntry
from api.images.edit_requests import made_size
from api.images.hires import LARGEST_SIDE, LATENT, HiresUse, enlarged_size
from api.images.scheduler_presets import UNET_FAMILIES, most_steps
from api.images.upscaling.serializers import check_upscaler, default_upscaler, size_errors
from api.spec_serializers import SpecSerializer

PICTURE_UPSCALER = "lanczos"
"""Of a second pass whose request names none: it blurs nothing, and loads nothing."""


class HiresSerializer(SpecSerializer):
    spec = HiresUse

    def validate_upscaler(self, value: str) -> str:
        return value if value == LATENT else check_upscaler(value)


def check_enlarging(data: dict[str, Any], entry: ModelEntry, size: tuple[int, int], steps: int) -> None:
    """`size` and `steps`: of the first pass. Raises ValidationError that names the field."""
    hires, upscale = data.get("hires"), data.get("upscale")
    if hires:
        check_hires(hires, data, entry, size, steps)
        size = enlarged_size(*size, hires["scale"])
    errors = size_errors(*made_size(data, size), upscale["scale"] if upscale else 1, data["output_format"])
    outside = {name: error for name, error in errors.items() if name != "scale"}
    if outside or (upscale and errors):
        raise ValidationError(outside or {"upscale": errors}, code="too_large")


def check_hires(hires: dict[str, Any], data: dict[str, Any], entry: ModelEntry, size: tuple[int, int], steps: int) -> None:
    if entry.family not in UNET_FAMILIES:
        detail = f"{entry.name} has no second pass: only models of the Stable Diffusion 1, 2 and XL families have one."
        raise ValidationError({"hires": [detail]}, code="unsupported_family")
    if data.get("mask") or any((data.get("outpaint") or {}).values()):
        raise ValidationError({"hires": ["A picture that is painted by a mask has no second pass."]}, code="invalid")
    width, height = enlarged_size(*size, hires["scale"])
    if max(width, height) > LARGEST_SIDE:
        detail = f"The second pass would be {width} × {height}; it has at most {LARGEST_SIDE} pixels on a side."
        raise ValidationError({"hires": {"scale": [detail]}}, code="too_large")
    most = most_steps(data.get("scheduler") or entry.scheduler or None)
    if (hires.get("steps") or 1) > most:
        raise ValidationError({"hires": {"steps": [f"The scheduler takes at most {most} steps."]}}, code="too_many_steps")
    if int((hires.get("steps") or steps) * hires["strength"]) < 1:
        detail = (
            "steps × strength is less than one step, so that there is no second pass; `upscale` enlarges a picture as it is."
        )
        raise ValidationError({"hires": {"strength": [detail]}}, code="no_steps")


def decide_enlarging(data: dict[str, Any]) -> dict[str, Any]:
    """With what the client left open."""
    decided: dict[str, Any] = {}
    if data.get("hires"):
        decided["hires"] = {"upscaler": PICTURE_UPSCALER, **data["hires"]}
    if data.get("upscale"):
        decided["upscale"] = {"model_id": data["upscale"].get("model_id") or default_upscaler(), **data["upscale"]}
    return decided
