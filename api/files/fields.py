"""The serializer field for every image that a client may send."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.access.principals import Principal
from api.files.decoding import Mode
from api.files.errors import InvalidImage
from api.files.formats import list_labels
from api.files.models import StoredFile
from api.files.services import resolve_image
from api.spec_serializers import register_field
from api.specs import InputImage, InputMask, InputTransparentImage

DESCRIPTION = f"An image ({list_labels()}): base64, a data URL, a multipart file, or the id of an image here."


@extend_schema_field({"type": "string", "description": DESCRIPTION, "examples": ["0197c0de-0000-7000-8000-000000000000"]})
class ImageInputField(serializers.Field[StoredFile, object, str, object]):
    """Validates to a StoredFile that the requester may use; what it sends is stored. A mask is kept as mode "L".

    The serializer's context has `request`, authenticated by PrincipalAuthentication, or `principal`.
    """

    def __init__(self, *, mode: Mode = "RGB", **kwargs: Any) -> None:
        self.mode = mode
        super().__init__(**kwargs)

    def principal(self) -> Principal:
        return self.context.get("principal") or self.context["request"].auth

    def to_internal_value(self, data: Any) -> StoredFile:
        principal = self.principal()
        try:
            return resolve_image(owner_key=principal.owner_key, value=data, mode=self.mode, see_all=principal.is_staff)
        except InvalidImage as error:
            raise serializers.ValidationError(error.detail, code=error.code) from None

    def to_representation(self, value: StoredFile) -> str:
        return str(value.pk)


register_field(InputImage, ImageInputField)
register_field(InputTransparentImage, partial(ImageInputField, mode="RGBA"))
register_field(InputMask, partial(ImageInputField, mode="L"))


def by_id(data: object) -> Any:
    """Validated data as JSON: each file by its id."""
    return replace_files(data, lambda file: str(file.pk))


def by_content(data: object) -> Any:
    """Validated data as JSON: each file by its hash, since the same picture is the same request under whatever id it is kept."""
    return replace_files(data, lambda file: file.sha256)


def replace_files(data: object, name: Callable[[StoredFile], str]) -> object:
    if isinstance(data, StoredFile):
        return name(data)
    if isinstance(data, Mapping):
        return {key: replace_files(value, name) for key, value in data.items()}
    return [replace_files(item, name) for item in data] if isinstance(data, list | tuple) else data
