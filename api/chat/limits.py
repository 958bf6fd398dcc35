"""How many pictures and characters the messages of one request may have."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from api.chat.backend_selection import context_of
from api.chat.spec import MAXIMUM_LENGTH, TOO_LONG

MAX_IMAGES = 20
MAX_CHARACTERS = 400_000


def check_limits(messages: list[Any], model: object) -> None:
    """Check the number of images and characters before anything is decoded. Raises ValidationError."""
    contents = [message.get("content") for message in messages if isinstance(message, Mapping)]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, Mapping)]
    images = sum(part.get("type") == "image_url" for part in parts)
    if images > MAX_IMAGES:
        raise ValidationError(f"There are {images} pictures; {MAX_IMAGES} is the limit.", code="too_many_images")
    calls = [str(message.get("tool_calls") or "") for message in messages if isinstance(message, Mapping)]
    texts = [*contents, *(part.get("text") for part in parts), *calls]
    characters = sum(len(text) for text in texts if isinstance(text, str))
    if characters > MAX_CHARACTERS:
        raise too_long("messages", characters, model)


def too_long(what: str, characters: int, model: object) -> ValidationError:
    """In the words and with the code by which clients know it. `what`: what has so many characters."""
    detail = (
        f"{MAXIMUM_LENGTH} {context_of(model) or MAX_CHARACTERS} tokens. However, your {what} have {characters} characters; "
        f"{MAX_CHARACTERS} is the limit here. {TOO_LONG}."
    )
    return ValidationError(detail, code="context_length_exceeded")
