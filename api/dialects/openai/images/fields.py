"""OpenAI's fields of a request for pictures, and what they come to in ours."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.catalog import LONGEST_NAME
from api.files.formats import FORMATS
from api.images.spec import USUAL_STRENGTH
from api.json_types import JsonObject
from api.strict import ChoiceField, StrictSerializer
from config.catalog import get_catalog

BUILT_IN = re.compile(r"(dall-e|gpt-image|chatgpt-image)-[a-z0-9.-]+")
"""Models that clients name without being asked: the default model, unless the catalog has one of that name."""
ALWAYS_BASE64 = re.compile(r"(gpt-image|chatgpt-image)-.+")
"""Models that OpenAI never answers by an address for; their clients look for base64 alone."""
MOST_PICTURES = 10
MOST_PARTIAL_IMAGES = 3
SIZE = re.compile(r"(\d{1,6})x(\d{1,6})", re.IGNORECASE)
AUTO, TRANSPARENT, BASE64 = "auto", "transparent", "b64_json"
QUALITIES = {"auto": 1.0, "low": 0.5, "medium": 1.0, "high": 1.5, "xhigh": 2.0, "max": 3.0, "standard": 1.0, "hd": 1.5}
"""How many times the model's usual steps each of them takes."""
SHOWN_QUALITIES = {"auto": "medium", "standard": "medium", "hd": "high"}
"""The words for them that an answer may have."""
EDIT_STRENGTH = {"low": USUAL_STRENGTH, "high": 0.4}
MASKED_STRENGTH = {"low": 1.0, "high": 0.8}
"""By input_fidelity. What a mask opens is painted anew, as OpenAI does."""
SAID_EXACTLY = {"quality": "steps", "input_fidelity": "strength"}
"""Fields of theirs, and those of ours that count more."""
DEFAULTS = {"quality": AUTO, "input_fidelity": "low"}
CUT_OUT = "background: no model here makes transparent pictures, so that the subject of each was cut out of an opaque one."
STYLE_IDLE = "style has no effect: no model here has styles of this kind. Say it in the prompt."
FORMS_ONLY = "Compression below 100 needs an output_format with loss: jpeg or webp."


class SizeField(serializers.CharField):
    """`1024x768` as (1024, 768); None where the model chooses."""

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        if text in ("", AUTO):
            return None
        match = SIZE.fullmatch(text)
        if match is None:
            raise ValidationError("Must be auto, or WIDTHxHEIGHT in pixels, such as 512x512.", code="invalid_size")
        return int(match[1]), int(match[2])


class GenerationFields(StrictSerializer):
    """OpenAI's, beside which our own may stand."""

    model = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=LONGEST_NAME,
        help_text="One of GET /v1/models. Names of OpenAI's (dall-e-2, dall-e-3, gpt-image-1 …) mean the default model.",
    )
    n = serializers.IntegerField(required=False, min_value=1, max_value=MOST_PICTURES)
    size = SizeField(
        required=False,
        allow_blank=True,
        help_text="auto, or WIDTHxHEIGHT: multiples of 8 from 64 to 2048.",
    )
    quality = ChoiceField(
        choices=list(QUALITIES),
        default=AUTO,
        help_text="low, high, xhigh and max take 0.5, 1.5, 2 and 3 times the model's usual steps; hd is high. `steps` says it exactly.",
    )
    style = ChoiceField(  # type: ignore[assignment]  # DRF takes declared fields out of the class
        choices=["vivid", "natural"], required=False, help_text="Has no effect."
    )
    background = ChoiceField(
        choices=[AUTO, "opaque", TRANSPARENT],
        default=AUTO,
        help_text="transparent: the subject is cut out of the picture (`cutout` says by which model).",
    )
    moderation = ChoiceField(
        choices=[AUTO, "low"], default=AUTO, help_text="What is checked is decided by this server, whatever is asked."
    )
    output_compression = serializers.IntegerField(
        required=False, min_value=0, max_value=100, help_text="The quality of a jpeg or webp."
    )
    response_format = ChoiceField(
        choices=["url", BASE64],
        required=False,
        help_text="Default: url; for OpenAI's GPT image models b64_json. A url answers to the same key.",
    )
    stream = serializers.BooleanField(default=False)
    partial_images = serializers.IntegerField(default=0, min_value=0, max_value=MOST_PARTIAL_IMAGES)
    user = serializers.CharField(required=False, allow_blank=True, help_text="Is not kept.")
    safety_identifier = serializers.CharField(required=False, allow_blank=True, help_text="Is not kept.")

    def validate_model(self, value: str) -> str | None:
        """None for the default."""
        known = value and (not BUILT_IN.fullmatch(value) or get_catalog().find_model(value))
        return value if known else None


class EditFields(GenerationFields):
    """Beside them `image` and `mask`, which sources.py reads."""

    input_fidelity = ChoiceField(
        choices=["low", "high"], default="low", help_text="high keeps more of the picture. `strength` says it exactly."
    )


class VariationFields(GenerationFields):
    """What OpenAI's variations know of these."""

    quality = style = background = moderation = output_compression = stream = partial_images = None  # type: ignore[assignment]


def translate(theirs: Mapping[str, Any], beside: Mapping[str, Any]) -> JsonObject:
    """In our names. `beside`: our own fields of the same request."""
    data: JsonObject = {}
    if theirs.get("model"):
        data["model_id"] = theirs["model"]
    if "n" in theirs:
        data["num_images"] = theirs["n"]
    if theirs.get("size"):
        data["width"], data["height"] = theirs["size"]
    if theirs.get("output_compression", 100) < 100:
        data["output_quality"] = quality_of(theirs["output_compression"], beside)
    if theirs.get("background") == TRANSPARENT and beside.get("cutout") is None:
        data["cutout"] = {}
    return data


def quality_of(compression: int, beside: Mapping[str, Any]) -> int:
    """Theirs goes down to 0, where ours ends at 1."""
    row = FORMATS.get(str(beside.get("output_format") or "png"))
    if row is not None and "quality" not in row.options:
        raise ValidationError({"output_compression": [FORMS_ONLY]}, code="unsupported_value")
    return max(1, compression)


def describe_fields(theirs: Mapping[str, Any], beside: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know of what they come to."""
    if theirs.get("background") == TRANSPARENT:
        yield CUT_OUT
    if "style" in theirs:
        yield STYLE_IDLE
    if theirs.get("partial_images") and not theirs["stream"]:
        yield "partial_images has no effect without stream."
    for name, ours in SAID_EXACTLY.items():
        if beside.get(ours) is not None and theirs.get(name, DEFAULTS[name]) != DEFAULTS[name]:
            yield f"{name} has no effect beside {ours}."


def answers_in_base64(model: object, response_format: str | None) -> bool:
    """`model`: as it was sent."""
    if response_format is None:
        return isinstance(model, str) and ALWAYS_BASE64.fullmatch(model) is not None
    return response_format == BASE64
