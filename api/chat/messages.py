"""The serializer field for OpenAI messages: validates them into turns, and stores their images."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.chat.limits import check_limits
from api.chat.neutral_fields import is_empty
from api.chat.openapi import MESSAGES
from api.chat.spec import MOST_MESSAGES, PartParams, TurnParams, answered_call, calls_of
from api.files.errors import InvalidImage
from api.files.models import StoredFile
from api.files.services import resolve_image
from api.strict import nearest

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
"""From OpenAI's roles to those of chat templates."""
DETAILS = ("auto", "low", "high")
CAPTION_QUESTION = "Describe this image."
"""What a model is asked about a picture where nobody says anything else."""
IGNORED_FIELDS = ("cache_control",)
"""Fields of a message, a part or a tool that are accepted and ignored."""
ECHOED_NULL_FIELDS = ("annotations", "audio", "function_call")
"""Fields that SDKs copy from an answer, as null, into the next request."""
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")
"""What other servers' models thought, which clients send back with the answer."""
MESSAGE_FIELDS = (
    *("role", "content", "name", "tool_calls", "tool_call_id", "refusal"),
    *(*IGNORED_FIELDS, *ECHOED_NULL_FIELDS, *THOUGHTS),
)


@extend_schema_field(MESSAGES)
class MessagesField(serializers.Field[list[TurnParams], object, list[TurnParams], object]):
    """Validates to turns (api.chat.spec.TurnParams), pictures by the id under which they are kept. `files` are those, by id.

    `thoughts`: fields with THOUGHTS, which no model is told.
    """

    def to_internal_value(self, data: object) -> list[TurnParams]:
        self.files: dict[str, StoredFile] = {}
        self.thoughts: list[str] = []
        if not isinstance(data, list) or not data:
            raise ValidationError("Must be a list of at least one message.", code="empty")
        if len(data) > MOST_MESSAGES:
            raise ValidationError(f"There are {len(data)} messages; {MOST_MESSAGES} is the limit.", code="too_many")
        check_limits(data, self.root.initial_data.get("model"))
        turns = []
        for place, message in enumerate(data):
            try:
                turns.append(self.read_message(message))
                self.thoughts += [f"messages.{place}.{name}" for name in THOUGHTS if not is_empty(message.get(name))]
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
        refuse_unknown(message, MESSAGE_FIELDS)
        for name in ECHOED_NULL_FIELDS:
            if not is_empty(message.get(name)):
                raise ValidationError({name: "Is not supported here."}, code="unsupported")
        for name in ("name", "tool_call_id", "refusal"):
            if not isinstance(message.get(name) or "", str):
                raise ValidationError({name: "Must be a text."})
        calls = read_calls(message)
        message = with_refusal(message)
        if is_empty(message.get("content")) and message["role"] == "assistant":
            return {"role": role, "parts": calls or [{"type": "text", "text": ""}]}
        try:
            parts = self.read_content(message.get("content"), str(message["role"]))
        except ValidationError as error:
            raise ValidationError({"content": error.detail}) from None
        if calls:
            parts = [part for part in parts if part.get("text")]
        return {"role": role, "parts": [*read_result(message), *parts, *calls]}

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
            refuse_unknown(part, ("type", "text", *IGNORED_FIELDS))
            if not isinstance(part.get("text"), str):
                raise ValidationError({"text": "Must be a text."})
            return {"type": "text", "text": clean_text(part["text"])}
        if kind == "refusal" and role == "assistant":
            refuse_unknown(part, ("type", "refusal"))
            if not isinstance(part.get("refusal"), str):
                raise ValidationError({"refusal": "Must be a text."})
            return {"type": "text", "text": clean_text(part["refusal"])}
        if kind == "image_url":
            refuse_unknown(part, ("type", "image_url", *IGNORED_FIELDS))
            if role not in ("user", "tool"):
                raise ValidationError(
                    f"Only a user's or a tool's message may show a picture, not one of the role {role}.", code="image_role"
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


def with_refusal(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """An assistant that refused said that, and nothing else."""
    said = message["role"] == "assistant" and is_empty(message.get("content")) and message.get("refusal")
    return {**message, "content": said} if said else message


def read_calls(message: Mapping[str, Any]) -> list[PartParams]:
    """Those of an assistant's message. Raises ValidationError."""
    calls = message.get("tool_calls")
    if is_empty(calls):
        return []
    if message["role"] != "assistant" or not isinstance(calls, list):
        raise ValidationError({"tool_calls": "Is a list, of an assistant's message."})
    found: list[PartParams] = []
    for place, call in enumerate(calls):
        try:
            found.append(read_call(call))
        except ValidationError as error:
            raise ValidationError({"tool_calls": {str(place): error.detail}}) from None
    return found


def read_call(call: Any) -> PartParams:
    function = call.get("function") if isinstance(call, Mapping) and call.get("type", "function") == "function" else None
    if not isinstance(function, Mapping):
        raise ValidationError("A call is an object with an id, the type function, and a function with name and arguments.")
    texts = {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}
    for name, text in texts.items():
        if not isinstance(text, str) or not (text or name == "arguments"):
            raise ValidationError({name if name == "id" else f"function.{name}": "Must be a text."})
    return {"type": "tool_call", **{name: clean_text(str(text)) for name, text in texts.items()}}  # type: ignore[typeddict-item]


def read_result(message: Mapping[str, Any]) -> list[PartParams]:
    """Whose result a tool's message is; `link_results` adds the name. Raises ValidationError."""
    if message["role"] != "tool":
        return []
    if not message.get("tool_call_id"):
        raise ValidationError({"tool_call_id": "A tool's message names the call that it answers."}, code="required")
    return [{"type": "tool_result", "id": clean_text(message["tool_call_id"]), "name": clean_text(message.get("name") or "")}]


def link_results(turns: list[TurnParams], *, known: int = 0) -> list[TurnParams]:
    """The turns, each tool's with the name of the call that it answers, which stands in front of it. Raises ValidationError.

    `known`: how many of them are from the history, and not in the request.
    """
    names: dict[str, str] = {}
    linked: list[TurnParams] = []
    for place, turn in enumerate(turns, -known):
        for number, call in enumerate(calls_of(turn)):
            if call["id"] in names:
                detail = f"There are two calls with the id {call['id']!r}."
                raise ValidationError(
                    {"messages": {str(place): {"tool_calls": {str(number): {"id": detail}}}}}, code="call_twice"
                )
            names[call["id"]] = call["name"]
        if answered := answered_call(turn):
            if answered["id"] not in names:
                detail = f"No message before it has a call with the id {answered['id']!r}."
                raise ValidationError({"messages": {str(place): {"tool_call_id": detail}}}, code="no_such_call")
            result: PartParams = {**answered, "name": names[answered["id"]]}
            turn = {"role": turn["role"], "parts": [result, *(part for part in turn["parts"] if part is not answered)]}
        linked.append(turn)
    return linked


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
