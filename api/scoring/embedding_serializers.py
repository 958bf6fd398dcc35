"""What may be sent as the `input` of an embedding: OpenAI's texts, and pictures in the forms in which other servers take them."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.files.job_serializers import FileJobSerializer
from api.json_types import JsonObject
from api.scoring.serializers import check_clip
from api.scoring.spec import EmbeddingItem, EmbeddingSpec
from api.spec_serializers import SpecSerializer
from api.specs import field_of
from api.strict import ChoiceField

DATA_URL = "data:image/"
MOST_PICTURES = 256
"""Of one request; each is decoded before the request is taken."""
TOKENS = (
    "Token ids can't be read here: they are of the tokenizer of another model. Send the texts themselves "
    "(langchain: OpenAIEmbeddings(check_embedding_ctx_length=False))."
)
FORMS: list[JsonObject] = [
    {"type": "string", "minLength": 1, "description": "A text; or a picture, where it is a data URL of one."},
    {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
    {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "string", "description": "A data URL, base64, or the id of an image here."}},
    },
    {
        "type": "object",
        "required": ["type"],
        "description": "A part of a chat message.",
        "properties": {
            "type": {"enum": ["text", "image_url"]},
            "text": {"type": "string"},
            "image_url": {"type": "object", "properties": {"url": {"type": "string"}}},
        },
    },
]
MOST = field_of(EmbeddingSpec, "input").rule.max_items or 0
INPUT: JsonObject = {
    "oneOf": [*FORMS, {"type": "array", "minItems": 1, "maxItems": MOST, "items": {"oneOf": FORMS}}],
    "description": f"Texts and pictures, up to {MOST}, {MOST_PICTURES} of them pictures. Lists of token ids are refused.",
}
ENCODING_FORMATS = ("float", "base64")


class ItemSerializer(SpecSerializer):
    spec = EmbeddingItem


@extend_schema_field(INPUT)
class EmbeddingInputField(serializers.Field[list[Any], object, list[Any], object]):
    """Validates to a list of what `ItemSerializer` gives."""

    def to_internal_value(self, data: object) -> list[Any]:
        items = data if isinstance(data, list) else [data]
        if not items:
            raise ValidationError("There is nothing to embed.", code="empty")
        if any(isinstance(item, list | int | float) for item in items):
            raise ValidationError(TOKENS, code="unsupported")
        if len(items) > MOST:
            raise ValidationError(f"There are {len(items)} inputs; {MOST} is the limit.", code="too_many")
        read = [self.in_place(place, data, lambda item=item: read_item(item)) for place, item in enumerate(items)]
        if (pictures := sum("image" in item for item in read)) > MOST_PICTURES:
            raise ValidationError(f"There are {pictures} pictures; {MOST_PICTURES} is the limit.", code="too_many_images")
        return [self.in_place(place, data, lambda item=item: self.validated(item)) for place, item in enumerate(read)]

    def to_representation(self, value: list[Any]) -> list[Any]:
        return value

    def in_place(self, place: int, data: object, read: Any) -> Any:
        """What `read` gives; its error with the place in the list, where there is one."""
        try:
            return read()
        except ValidationError as error:
            raise ValidationError({str(place): error.detail}) if isinstance(data, list) else error from None

    def validated(self, item: JsonObject) -> Any:
        serializer = ItemSerializer(data=item, context=self.context)
        serializer.is_valid()
        if errors := serializer.errors:
            raise ValidationError(next(iter(errors.values())))
        return serializer.validated_data


def read_item(item: object) -> JsonObject:
    """{"text"} or {"image"}, of any of the forms. Raises ValidationError."""
    if isinstance(item, str):
        is_picture = item[: len(DATA_URL) + 20].lstrip().lower().startswith(DATA_URL)
        return {"image" if is_picture else "text": item}
    if not isinstance(item, Mapping):
        raise ValidationError("Must be a text, or an object with a text or an image.")
    given = {name: value for name, value in item.items() if value is not None and (name, value) not in KINDS}
    if given.keys() in ({"text"}, {"image"}):
        return given
    if given.keys() == {"image_url"}:
        url = given["image_url"]
        return {"image": url.get("url") if isinstance(url, Mapping) else url}
    if given.keys() == {"content"} and isinstance(given["content"], list) and len(given["content"]) == 1:
        return read_item(given["content"][0])
    raise ValidationError(
        "Must be a text, or an object with either a text or an image: the model has no vector for both together. "
        "Known: text, image, image_url."
    )


KINDS = (("type", "text"), ("type", "image_url"), ("type", "image"))
"""What parts say of themselves besides."""


class EmbeddingSerializer(FileJobSerializer):
    """Not of the job is how its vectors are written: `encoding_format`."""

    spec = EmbeddingSpec

    input = EmbeddingInputField()
    encoding_format = ChoiceField(
        choices=ENCODING_FORMATS, required=False, help_text="float (the default); base64: float32, little-endian."
    )

    def validate_model(self, value: str) -> str:
        return check_clip(value)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"model": check_clip(settings.DEFAULT_CLIP_MODEL), **data}
