"""The serializer field for OpenAI messages: validates them into turns, and stores their images."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.chat.backend_selection import context_of
from api.chat.neutral_fields import is_empty
from api.chat.openapi import MESSAGES
from api.chat.spec import MOST_MESSAGES, PartParams, TurnParams
from api.files.errors import InvalidImage
from api.files.models import StoredFile
from api.files.services import resolve_image
from api.json_types import Json
from api.strict import nearest

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "user"}
"""From OpenAI's roles to those of chat templates; a tool's answer is sent as a user's message."""
DETAILS = ("auto", "low", "high")
MAX_IMAGES = 20
CAPTION_QUESTION = "Describe this image."
"""What a model is asked about a picture where nobody says anything else."""
MAX_CHARACTERS = 400_000
IGNORED_PART_FIELDS = ("cache_control",)
"""Fields of a part that are accepted and ignored."""
ECHOED_NULL_FIELDS = ("refusal", "annotations", "audio", "function_call", "reasoning_content", "reasoning")
"""Fields that SDKs copy from an answer, as null, into the next request."""


@extend_schema_field(MESSAGES)
class MessagesField(serializers.Field[list[TurnParams], object, list[TurnParams], object]):
    """Validates to turns (api.chat.spec.TurnParams), pictures by the id under which they are kept. `files` are those, by id."""

    def to_internal_value(self, data: object) -> list[TurnParams]:
        self.files: dict[str, StoredFile] = {}
        self.call_names: dict[str, str] = {}
        if not isinstance(data, list) or not data:
            raise ValidationError("Must be a list of at least one message.", code="empty")
        if len(data) > MOST_MESSAGES:
            raise ValidationError(f"There are {len(data)} messages; {MOST_MESSAGES} is the limit.", code="too_many")
        check_limits(data, self.root.initial_data.get("model"))
        turns = []
        for place, message in enumerate(data):
            try:
                turns.append(self.read_message(message))
            except ValidationError as error:
                raise ValidationError({str(place): error.detail}) from None
        return turns

    def to_representation(self, value: list[TurnParams]) -> list[TurnParams]:
        return value

    def read_message(self, message: object) -> TurnParams:
        if not isinstance(message, Mapping):
            raise ValidationError("Must be an object with a role and a content.")
        role = ROLES.get(str(message.get("role")))
        if role is None:
            raise ValidationError(
                {"role": f"There is no role {message.get('role')!r}.{nearest(str(message.get('role')), list(ROLES))}"},
                code="unknown_role",
            )
        refuse_unknown(message, ("role", "content", "name", "tool_calls", "tool_call_id", *ECHOED_NULL_FIELDS))
        for name in ECHOED_NULL_FIELDS:
            if not is_empty(message.get(name)):
                raise ValidationError({name: "Is not supported here."}, code="unsupported")
        for name in ("name", "tool_call_id"):
            if not isinstance(message.get(name) or "", str):
                raise ValidationError({name: "Must be a text."})
        calls = self.read_calls(message)
        if message.get("content") is None and message["role"] == "assistant":
            return {"role": role, "parts": calls or [{"type": "text", "text": ""}]}
        try:
            parts = self.read_content(message.get("content"), str(message["role"]))
        except ValidationError as error:
            raise ValidationError({"content": error.detail}) from None
        if message["role"] == "tool":
            call_names = self.call_names.get(message.get("tool_call_id") or "") or message.get("name") or "a tool"
            parts = [{"type": "text", "text": f"Result of {clean_text(call_names)}:"}, *parts]
        return {"role": role, "parts": [*parts, *calls]}

    def read_calls(self, message: Mapping[str, Json]) -> list[PartParams]:
        """An assistant message's tool calls as text: models here call no tools but can continue such conversations."""
        calls: Any = message.get("tool_calls")
        if is_empty(calls):
            return []
        try:
            fields = [(call["function"]["name"], call["function"]["arguments"], call["id"]) for call in calls]
        except (KeyError, TypeError):
            fields = [(None, None, None)]
        if message["role"] != "assistant" or not all(isinstance(text, str) for call in fields for text in call):
            raise ValidationError({"tool_calls": "Are not supported here, except as an assistant's that were answered."})
        self.call_names |= {id: name for name, _, id in fields}
        return [{"type": "text", "text": clean_text(f"Call of {name}: {arguments}")} for name, arguments, _ in fields]

    def read_content(self, content: object, role: str) -> list[PartParams]:
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

    def read_part(self, part: Any, role: str) -> PartParams:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            refuse_unknown(part, ("type", "text", *IGNORED_PART_FIELDS))
            if not isinstance(part.get("text"), str):
                raise ValidationError({"text": "Must be a text."})
            return {"type": "text", "text": clean_text(part["text"])}
        if kind == "image_url":
            refuse_unknown(part, ("type", "image_url", *IGNORED_PART_FIELDS))
            if role != "user":
                raise ValidationError(
                    f"Only a user's message may show a picture, not one of the role {role}.", code="image_role"
                )
            return self.read_image(part.get("image_url"))
        raise ValidationError({"type": "A part is a `text` or an `image_url`."}, code="unknown_part")

    def read_image(self, value: object) -> PartParams:
        if not isinstance(value, Mapping):
            raise ValidationError({"image_url": "Must be an object with a url."})
        refuse_unknown(value, ("url", "detail"))
        detail = value.get("detail") or "auto"
        if detail not in DETAILS:
            raise ValidationError({"image_url": {"detail": f"Must be one of {', '.join(DETAILS)}."}})
        file = self.find_image(value.get("url"))
        self.files[str(file.pk)] = file
        return {"type": "image", "image": str(file.pk), "detail": detail}

    def find_image(self, url: Any) -> StoredFile:
        principal: Principal = self.context["principal"]
        try:
            return resolve_image(owner_key=principal.owner_key, value=url, see_all=principal.is_staff)
        except InvalidImage as error:
            raise ValidationError({"image_url": {"url": error.detail}}, code=error.code) from None


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
        raise ValidationError(
            f"This model's maximum context length is {context_of(model) or MAX_CHARACTERS} tokens. However, your messages have "
            f"{characters} characters; {MAX_CHARACTERS} is the limit here.",
            code="context_length_exceeded",
        )


def clean_text(text: str) -> str:
    """Raises ValidationError for characters that databases refuse: NUL and lone surrogates."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(
            "The text has a character that can't be kept (NUL, or half of a surrogate pair).", code="bad_text"
        )
    return text


def refuse_unknown(value: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = {
        str(name): f"Unknown field.{nearest(str(name), list(known))}"
        for name in value
        if name not in known and not is_empty(value[name])
    }
    if unknown:
        raise ValidationError(unknown, code="unknown_field")
