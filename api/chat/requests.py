"""From a job's request to the one that a backend gets: its pictures are opened, what it leaves open is the server's."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.conf import settings

from api.chat.backends.request import ChatRequest, MessagePart, Sampling, ToolCall, Turn
from api.chat.spec import ChatSpec, PartParams, TurnParams, WritingSpec, answered_call, calls_of
from api.chat.tools.use import tool_use_of
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image


def sampling_of(spec: WritingSpec, **decided: Any) -> Sampling:
    names = {one.name for one in fields(Sampling)} & {one.name for one in fields(spec)}
    given = {name: value for name in names if (value := getattr(spec, name)) is not None}
    return Sampling(**{**given, "default_max_tokens": settings.CHAT_MAX_TOKENS, **decided})


def chat_request_of(spec: ChatSpec, owner_key: str) -> ChatRequest:
    return ChatRequest(
        model_id=spec.model,
        turns=tuple(map(turn_of, spec.messages)),
        sampling=sampling_of(spec, schema=schema_of(spec.response_format)),
        owner=owner_key,
        tool_use=tool_use_of(spec.tools, spec.tool_choice, spec.parallel_tool_calls),
    )


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None for free text, {} for any JSON object."""
    if response_format is None or response_format["type"] == "text":
        return None
    return (response_format.get("json_schema") or {}).get("schema", {})  # type: ignore[no-any-return]


def turn_of(turn: TurnParams) -> Turn:
    parts = tuple(part_of(part) for part in turn["parts"] if part["type"] in ("text", "image"))
    calls = tuple(ToolCall(part["id"], part["name"], part["arguments"]) for part in calls_of(turn))
    answered = answered_call(turn)
    return Turn(turn["role"], parts, calls, ToolCall(answered["id"], answered["name"], "") if answered else None)


def part_of(part: PartParams) -> MessagePart:
    if part["type"] == "text":
        return MessagePart(text=part["text"])
    file = StoredFile.objects.filter(pk=part["image"]).first()
    if file is None:
        raise MissingFile
    return MessagePart(image=open_image(file), detail=part["detail"])
