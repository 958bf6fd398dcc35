"""What a request to enlarge a picture may say, and what it comes to once everything left open is decided."""

from math import ceil
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ValidationError

from api.catalog import UPSCALING, UnknownModel
from api.files.fields import by_content, by_id
from api.files.formats import FORMATS
from api.images.spec import MOST_KNOWN
from api.images.upscaling.spec import LARGEST_SCALE, SMALLEST_SCALE, UpscaleBlend, UpscaleSpec, UpscaleUse
from api.jobs.api.submission import Submission
from api.jobs.api.webhook_field import JobRequest
from api.spec_serializers import SpecSerializer
from config.catalog import get_catalog

SIZE_FIELDS = {"scale": "width"}
"""Where a size is named, in the place of a scale."""


def check_upscaler(value: str) -> str:
    """The id of an upscaler. Raises ValidationError."""
    try:
        entry = get_catalog().get(value, (UPSCALING,))
    except UnknownModel as error:
        known = "" if error.nearest or error.reason else known_upscalers()
        raise ValidationError(f"{error}{known}", code="unknown_model") from None
    if entry.task != UPSCALING:
        detail = f"'{value}' enlarges no pictures (its task is {entry.task}).{known_upscalers()}"
        raise ValidationError(detail, code="wrong_task")
    return entry.id


def known_upscalers() -> str:
    known = [entry.id for entry in get_catalog().of_task(UPSCALING)]
    return f" Known: {', '.join(known[:MOST_KNOWN])}{' and more' if len(known) > MOST_KNOWN else ''}."


def default_upscaler() -> str:
    return get_catalog().get(settings.DEFAULT_UPSCALE_MODEL).id


def size_errors(width: int, height: int, scale: int, output_format: str) -> dict[str, list[str]]:
    """What speaks against a picture of this size, enlarged, by the field that says it; {} where nothing does."""
    wide, high = width * scale, height * scale
    if wide * high > settings.MAX_UPSCALED_PIXELS:
        by = f" enlarged by {scale}" if scale > 1 else ""
        most = f"{settings.MAX_UPSCALED_PIXELS / 1e6:.1f}"
        detail = f"{width} × {height}{by} has {wide * high / 1e6:.1f} megapixels, and at most {most} are made."
        return {"scale": [detail]}
    format = FORMATS[output_format]
    if max(wide, high) > format.max_side:
        detail = (
            f"{format.label_with_article} picture has at most {format.max_side} pixels on a side, and this one would have "
            f"{wide} × {high}."
        )
        return {"output_format": [detail]}
    return {}


def scale_up_to(*times: float) -> int:
    """The smallest that brings both sides up to a size, as far as one does."""
    return min(LARGEST_SCALE, max(SMALLEST_SCALE, ceil(max(times))))


class UpscaleBlendSerializer(SpecSerializer):
    spec = UpscaleBlend

    def validate_model_id(self, value: str) -> str:
        return check_upscaler(value)


class UpscaleUseSerializer(SpecSerializer):
    spec = UpscaleUse

    def validate_model_id(self, value: str) -> str:
        return check_upscaler(value)


class UpscaleSerializer(JobRequest):
    spec = UpscaleSpec

    def validate_model_id(self, value: str) -> str:
        return check_upscaler(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        file, width, height = data["image"], data.get("width"), data.get("height")
        if (width is None) != (height is None):
            missing, given = ("width", "height") if width is None else ("height", "width")
            raise ValidationError({missing: [f"A size has both: {given} is given alone."]}, code="required")
        if width and height and not self.initial_data.get("scale"):
            data["scale"] = scale_up_to(width / file.width, height / file.height)
        errors = size_errors(file.width, file.height, data["scale"], data["output_format"])
        if width and height and not errors:
            errors = {
                SIZE_FIELDS.get(name, name): error
                for name, error in size_errors(width, height, 1, data["output_format"]).items()
            }
        if errors:
            raise ValidationError(errors, code="too_large")
        return data

    def resolve(self) -> Submission:
        data = {"model_id": default_upscaler(), **self.validated_data}
        return Submission(self.spec.from_json(by_id(data)), fingerprint=by_content(data))
