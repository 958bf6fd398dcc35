"""From a job's request to the one that a backend gets: its pictures are opened, what it leaves open is the server's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

from django.conf import settings

from api.chat.backend_selection import accepts_images
from api.chat.backends.request import ChatRequest, MessagePart, Sampling, ToolCall, Turn
from api.chat.server_tools.dialogue import Dialogue
from api.chat.spec import ChatSpec, PartParams, TurnParams, WritingSpec, answered_call, calls_of
from api.files.errors import MissingFile
from api.files.models import StoredFile
from api.files.services import open_image

TOOL = "tool"
RESULTS = "The pictures of these results:"


def sampling_of(spec: WritingSpec, **decided: Any) -> Sampling:
    names = {one.name for one in fields(Sampling)} & {one.name for one in fields(spec)}
    given = {name: value for name in names if (value := getattr(spec, name)) is not None}
    return Sampling(**{**given, "default_max_tokens": settings.CHAT_MAX_TOKENS, **decided})


def chat_request_of(spec: ChatSpec, owner_key: str, dialogue: Dialogue) -> ChatRequest:
    return ChatRequest(
        model_id=spec.model,
        turns=tuple(shown_turns(dialogue.turns, spec.model)),
        sampling=sampling_of(spec, schema=schema_of(spec.response_format), max_tokens=dialogue.tokens_left),
        owner=owner_key,
        tool_use=dialogue.tool_use,
    )


def schema_of(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None for free text, {} for any JSON object."""
    if response_format is None or response_format["type"] == "text":
        return None
    return (response_format.get("json_schema") or {}).get("schema", {})  # type: ignore[no-any-return]


def shown_turns(turns: Sequence[TurnParams], model: str) -> Iterator[Turn]:
    """Pictures of tools' results are shown in a user's turn behind them, where every chat template has a place for pictures."""
    for is_tools, group in groupby(turns, lambda turn: turn["role"] == TOOL):
        if not is_tools:
            yield from map(turn_of, group)
            continue
        results = list(group)
        for turn in results:
            yield turn_of({**turn, "parts": [part for part in turn["parts"] if part["type"] != "image"]})
        pictures = [part for turn in results for part in turn["parts"] if part["type"] == "image"]
        if pictures and accepts_images(model):
            yield Turn("user", (MessagePart(text=RESULTS), *map(part_of, pictures)))


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
