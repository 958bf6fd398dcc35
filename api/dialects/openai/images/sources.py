"""The picture that is edited or varied, those beside it, and its mask: OpenAI's is open where it is transparent, ours is painted where it
is white.
"""

from typing import Any

from PIL import Image, ImageOps
from rest_framework.exceptions import ValidationError

from api.access.principals import Principal
from api.catalog import ModelEntry, UnknownModel
from api.dialects.openai.images.bodies import IMAGE, MASK
from api.files.decoding import decode_image, may_be_transparent
from api.files.errors import InvalidImage
from api.files.inputs import decode_input, parse_id
from api.files.models import StoredFile
from api.files.services import open_sent_image, resolve_image, store_pixels
from api.images.ip_adapter.serializers import usual
from api.images.serializers import find_default
from api.json_types import JsonObject
from api.system.selectors import is_available
from config.catalog import get_catalog

OPAQUE_MASK = "It has no transparent part: what is transparent in a mask is painted anew."


def find_source(pictures: list[Any], principal: Principal) -> StoredFile:
    """The only one. Raises ValidationError."""
    if not pictures:
        raise ValidationError({IMAGE: ["This field is required."]}, code="required")
    if len(pictures) > 1:
        raise too_many(pictures)
    return stored(pictures[0], principal)


def too_many(pictures: list[Any]) -> ValidationError:
    detail = f"{len(pictures)} pictures were sent; the models here take one, and no others beside it."
    return ValidationError({IMAGE: [detail]}, code="too_many_images")


def stored(picture: Any, principal: Principal) -> StoredFile:
    try:
        return resolve_image(owner_key=principal.owner_key, value=picture, see_all=principal.is_staff)
    except InvalidImage as error:
        raise ValidationError({IMAGE: [error.detail]}, code=error.code) from None


def read_further(pictures: list[Any], model_id: str | None, principal: Principal) -> list[JsonObject]:
    """Those behind the first, as image prompts. Raises ValidationError where no IP-Adapter for the model is here."""
    entry = get_catalog().find_model(model_id) if model_id else find_default(None)
    if entry is None:
        return []  # the model is what the request is refused for
    adapter = adapter_here(entry)
    if adapter is None:
        raise too_many(pictures)
    return [{"image": str(stored(picture, principal).pk), "model_id": adapter.id} for picture in pictures[1:]]


def adapter_here(entry: ModelEntry) -> ModelEntry | None:
    """The usual one for this model, where neither it nor what reads its pictures would have to be downloaded."""
    try:
        adapter = usual(entry)
        encoder = get_catalog().image_encoder_for(adapter)
    except (ValidationError, UnknownModel):
        return None
    readable = not adapter.features or (encoder is not None and is_available(encoder))
    return adapter if readable and is_available(adapter) else None


def store_mask(value: Any, source: StoredFile, principal: Principal) -> StoredFile:
    """Raises ValidationError."""
    image = open_transparent_mask(value, principal)
    if image.size != (source.width, source.height):
        detail = f"It has {image.width} × {image.height} pixels, and the picture {source.width} × {source.height}: they must be equal."
        raise ValidationError({MASK: [detail]}, code="other_size")
    opened = open_parts(image)
    if opened is None:
        raise ValidationError({MASK: [OPAQUE_MASK]}, code="opaque_mask")
    return store_pixels(owner_key=principal.owner_key, image=opened)


def store_own_mask(value: Any, principal: Principal) -> StoredFile | None:
    """Of a picture that brings its mask in its own transparency, as dall-e-2 reads it. Most pictures are opaque: their pixels are not
    decoded another time.
    """
    if parse_id(value) is not None:
        return None
    try:
        data = decode_input(value)
        opened = open_parts(decode_image(data, "RGBA")) if may_be_transparent(data) else None
    except InvalidImage as error:
        raise ValidationError({IMAGE: [error.detail]}, code=error.code) from None
    return None if opened is None else store_pixels(owner_key=principal.owner_key, image=opened)


def open_transparent_mask(value: Any, principal: Principal) -> Image.Image:
    try:
        return open_sent_image(owner_key=principal.owner_key, value=value, mode="RGBA", see_all=principal.is_staff)
    except InvalidImage as error:
        raise ValidationError({MASK: [error.detail]}, code=error.code) from None


def open_parts(image: Image.Image) -> Image.Image | None:
    """White where the picture is transparent; None where it is so nowhere."""
    if image.mode != "RGBA":
        return None
    alpha = image.getchannel("A")
    return ImageOps.invert(alpha) if alpha.getextrema()[0] == 0 else None
