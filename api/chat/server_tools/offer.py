"""The server's tools as a model is told of them, and how the arguments of a call are read."""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from api.chat.spec import PartParams
from api.errors import DarkroomError
from api.files.inputs import HERE
from api.json_types import JsonObject
from api.runtime.server_tools import IMAGE, ServerTool, find_tool
from api.strict import nearest

NUMBER, ID = "picture", "picture_id"
"""How a call names the picture that its tool looks at."""
LAST = " The last one where neither is said."


def definitions(names: Iterable[str], pictures: int) -> list[JsonObject]:
    """In OpenAI's form. `pictures`: how many the conversation has."""
    return [definition(find_tool(name), pictures) for name in names]


def definition(tool: ServerTool, pictures: int) -> JsonObject:
    shown = picture_properties(pictures) if tool.looks_at_picture else {}
    required = [*tool.required, *([ID] if tool.looks_at_picture and not pictures else [])]
    schema = {
        "type": "object",
        "properties": {**shown, **tool.properties},
        "required": required,
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": schema}}


def picture_properties(pictures: int) -> JsonObject:
    text = "The id of a picture in the history."
    by_id: JsonObject = {"type": "string", "minLength": 36, "maxLength": 36, "description": text}
    if not pictures:
        return {ID: by_id}
    about = f"Which picture of the conversation, counted from 1 to {pictures}.{LAST}"
    return {NUMBER: {"type": "integer", "minimum": 1, "maximum": pictures, "description": about}, ID: by_id}


def read_arguments(call: PartParams, pictures: Sequence[str]) -> tuple[JsonObject, bool]:
    """As the tool's serializer takes them, and whether the picture is one of the conversation's. Raises DarkroomError."""
    tool = find_tool(call["name"])
    known = definition(tool, len(pictures))["function"]["parameters"]["properties"]
    arguments = parse(call["arguments"])
    if unknown := next((name for name in arguments if name not in known), None):
        raise bad_call(f"There is no argument {unknown!r}.{nearest(unknown, list(known))}")
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
