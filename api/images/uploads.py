"""What a client sends to keep a picture here and use it by its id."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.files.errors import InvalidImage
from api.files.formats import list_labels
from api.files.inputs import decode_input, parse_id
from api.images.models import GeneratedImage
from api.images.services import ensure_room_for_upload, upload_image
from api.strict import StrictSerializer

DAY = 86_400
SCHEMA = {"type": "string", "description": f"An image ({list_labels()}): base64, a data URL, or a multipart file."}


@extend_schema_field(SCHEMA)
class SentImageField(serializers.Field[bytes, object, str, object]):
    """The bytes of an image that a client sends; whether they are one is found when they are stored."""

    def to_internal_value(self, data: Any) -> bytes:
        if parse_id(data) is not None:
            raise ValidationError("Send the image itself; what has an id is here already.", code="already_here")
        try:
            return decode_input(data)
        except InvalidImage as error:
            raise ValidationError(error.detail, code=error.code) from None


class ImageUploadSerializer(StrictSerializer):
    """A picture to be kept here, and used by its id."""

    image = SentImageField()
    expires_in = serializers.IntegerField(
        default=DAY,
        min_value=60,
        max_value=30 * DAY,
        help_text="Seconds that it is kept; longer while a job, a picture made from it or a rating refers to it.",
    )

    def save(self, **kwargs: object) -> GeneratedImage:
        """Of `principal`, in the context."""
        owner_key = self.context["principal"].owner_key
        expires_in = timedelta(seconds=self.validated_data["expires_in"])
        ensure_room_for_upload(owner_key)
        try:
            return upload_image(owner_key=owner_key, data=self.validated_data["image"], expires_in=expires_in)
        except InvalidImage as error:
            raise ValidationError({"image": [error.detail]}, code=error.code) from None
