"""The server's tools as a model is told of them, and how the arguments of a call are read."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from api.chat.spec import PartParams, TurnParams, images_of, text_of
from api.errors import DarkroomError
from api.files.inputs import HERE, UUID
from api.json_types import JsonObject
from api.runtime.server_tools import IMAGE, ServerTool, find_tool
from api.strict import nearest

NUMBER, ID = "picture", "picture_id"
"""How a call names the picture that its tool looks at."""
LAST = " The last one where none is said."
MOST_MENTIONED = 50


@dataclass(frozen=True)
class InSight:
    """The pictures that a conversation shows, and the ids that its texts mention: a model can know no others."""

    pictures: Sequence[str] = ()
    mentioned: Sequence[str] = ()

    @classmethod
    def of(cls, turns: Sequence[TurnParams]) -> "InSight":
        ids = [found[0].lower() for turn in turns if turn["role"] != "assistant" for found in UUID.finditer(text_of(turn))]
        return cls(images_of(turns), list(dict.fromkeys(ids))[-MOST_MENTIONED:])


def definitions(names: Iterable[str], sight: InSight) -> list[JsonObject]:
    """In OpenAI's form."""
    return [definition(find_tool(name), sight) for name in names]


def definition(tool: ServerTool, sight: InSight) -> JsonObject:
    shown = picture_properties(sight) if tool.looks_at_picture else {}
    required = [*tool.required, *([ID] if tool.looks_at_picture and not sight.pictures else [])]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**shown, **tool.properties},
        "required": required,
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": schema}}


def picture_properties(sight: InSight) -> dict[str, Any]:
    known: dict[str, Any] = {"enum": list(sight.mentioned)} if sight.mentioned else {"minLength": 36, "maxLength": 36}
    by_id = {ID: {"type": "string", **known, "description": "The id of a picture in the history."}}
    if not sight.pictures:
        return by_id
    count = len(sight.pictures)
    about = f"Which picture of the conversation, counted from 1 to {count}.{LAST}"
    numbered = {NUMBER: {"type": "integer", "minimum": 1, "maximum": count, "description": about}}
    return {**numbered, **(by_id if sight.mentioned else {})}


def read_arguments(call: PartParams, pictures: Sequence[str]) -> tuple[JsonObject, bool]:
    """As the tool's serializer takes them, and whether the picture is one of the conversation's. Raises DarkroomError."""
    tool = find_tool(call["name"])
    known = [*([NUMBER, ID] if tool.looks_at_picture else []), *tool.properties]
    arguments = parse(call["arguments"])
    if unknown := next((name for name in arguments if name not in known), None):
        raise bad_call(f"There is no argument {unknown!r}.{nearest(unknown, known)}")
    if not tool.looks_at_picture:
        return arguments, False
    number, identifier = arguments.pop(NUMBER, None), arguments.pop(ID, None)
    if identifier is not None:
        return {**arguments, IMAGE: f"{HERE}{read_id(identifier)}"}, False
    return {**arguments, IMAGE: f"{HERE}{numbered(number, pictures)}"}, True


def parse(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise bad_call("The arguments are no JSON.") from None
    if not isinstance(found, dict):
        raise bad_call("The arguments are no object.")
    return {name: value for name, value in found.items() if value is not None}


def read_id(value: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(value).removeprefix(HERE))
    except ValueError:
        raise bad_call(f"{ID}: There is no picture with this id.") from None


def numbered(number: object, pictures: Sequence[str]) -> str:
    if not pictures:
        raise bad_call(f"The conversation has no picture; name one of the history by its {ID}.")
    if number is None:
        return pictures[-1]
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= len(pictures):
        raise bad_call(f"{NUMBER}: The conversation's pictures are counted from 1 to {len(pictures)}.")
    return pictures[number - 1]


def bad_call(detail: str) -> DarkroomError:
    return DarkroomError("bad_call", 400, detail)
