"""What a client may say: OpenAI's messages, turned into texts and pictures that are kept here."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.chat.openapi import MESSAGES
from api.chat.services import Turn
from api.files.errors import InvalidImage
from api.files.models import StoredFile
from api.files.services import resolve_image
from api.strict import nearest

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
DETAILS = ("auto", "low", "high")
MOST_IMAGES = 20
MOST_MESSAGES = 1_000
MOST_CHARACTERS = 400_000
ECHOED = ("refusal", "annotations", "audio", "function_call", "tool_calls")
"""What OpenAI's SDK has in an answer, as null, and sends back with it."""


@extend_schema_field(MESSAGES)
class MessagesField(serializers.Field[list[Turn], Any, Any, Any]):
    """Validates to turns (api.chat.services.Turn), pictures by the id under which they are kept. `files` are those, by id."""

    def to_internal_value(self, data: Any) -> list[Turn]:
        self.files: dict[str, StoredFile] = {}
        self.details: set[str] = set()
        if not isinstance(data, list) or not data:
            raise ValidationError("Must be a list of at least one message.", code="empty")
        if len(data) > MOST_MESSAGES:
            raise ValidationError(f"There are {len(data)} messages; {MOST_MESSAGES} is the limit.", code="too_many")
        check_amounts(data)
        turns = []
        for place, message in enumerate(data):
            try:
                turns.append(self.read_message(message))
            except ValidationError as error:
                raise ValidationError({str(place): error.detail}) from None
        if {"low", "high"} <= self.details:
            raise ValidationError("The pictures of one request have the same detail, low or high.", code="mixed_detail")
        return turns

    def to_representation(self, value: Any) -> Any:
        return value

    def read_message(self, message: Any) -> Turn:
        if not isinstance(message, Mapping):
            raise ValidationError("Must be an object with a role and a content.")
        refuse_unknown(message, ("role", "content", *ECHOED))
        for name in ECHOED:
            if message.get(name) not in (None, []):
                raise ValidationError({name: "Is not supported here."}, code="unsupported")
        role = ROLES.get(str(message.get("role")))
        if role is None:
            raise ValidationError(
                {"role": f"There is no role {message.get('role')!r}.{nearest(str(message.get('role')), list(ROLES))}"},
                code="unknown_role",
            )
        try:
            return {"role": role, "parts": self.read_content(message.get("content"), role)}
        except ValidationError as error:
            raise ValidationError({"content": error.detail}) from None

    def read_content(self, content: Any, role: str) -> list[dict[str, Any]]:
        if isinstance(content, str):
            return [{"type": "text", "text": clean_text(content)}]
        if not isinstance(content, list) or not content:
            raise ValidationError("Must be a text, or a list of at least one part.")
        parts = []
        for place, part in enumerate(content):
            try:
                parts.append(self.read_part(part, role))
            except ValidationError as error:
                raise ValidationError({str(place): error.detail}) from None
        return parts

    def read_part(self, part: Any, role: str) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            refuse_unknown(part, ("type", "text"))
            if not isinstance(part.get("text"), str):
                raise ValidationError({"text": "Must be a text."})
            return {"type": "text", "text": clean_text(part["text"])}
        if kind == "image_url":
            refuse_unknown(part, ("type", "image_url"))
            if role != "user":
                raise ValidationError(
                    f"Only a user's message may show a picture, not one of the role {role}.", code="image_role"
                )
            return self.read_image(part.get("image_url"))
        raise ValidationError({"type": "A part is a `text` or an `image_url`."}, code="unknown_part")

    def read_image(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError({"image_url": "Must be an object with a url."})
        refuse_unknown(value, ("url", "detail"))
        detail = value.get("detail") or "auto"
        if detail not in DETAILS:
            raise ValidationError({"image_url": {"detail": f"Must be one of {', '.join(DETAILS)}."}})
        file = self.find_image(value.get("url"))
        self.files[str(file.pk)] = file
        self.details.add(detail)
        return {"type": "image", "image": str(file.pk), "detail": detail}

    def find_image(self, url: Any) -> StoredFile:
        principal: Principal = self.context["principal"]
        try:
            return resolve_image(owner_key=principal.owner_key, value=url, see_all=principal.is_staff)
        except InvalidImage as error:
            raise ValidationError({"image_url": {"url": error.detail}}, code=error.code) from None


def check_amounts(messages: list[Any]) -> None:
    """Before a picture is decoded, or a text looked at."""
    contents = [message.get("content") for message in messages if isinstance(message, Mapping)]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, Mapping)]
    images = sum(part.get("type") == "image_url" for part in parts)
    if images > MOST_IMAGES:
        raise ValidationError(f"There are {images} pictures; {MOST_IMAGES} is the limit.", code="too_many_images")
    texts = [*contents, *(part.get("text") for part in parts)]
    characters = sum(len(text) for text in texts if isinstance(text, str))
    if characters > MOST_CHARACTERS:
        raise ValidationError(f"There are {characters} characters; {MOST_CHARACTERS} is the limit.", code="too_long")


def clean_text(text: str) -> str:
    """Raises ValidationError for what no database keeps: NUL, and halves of surrogate pairs."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(
            "The text has a character that can't be kept (NUL, or half of a surrogate pair).", code="bad_text"
        )
    return text


def refuse_unknown(value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = {str(name): f"Unknown field.{nearest(str(name), list(known))}" for name in value if name not in known}
    if unknown:
        raise ValidationError(unknown, code="unknown_field")
