"""The fields of a request that say which tools a model may call, as OpenAI has them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from api.chat.messages import IGNORED_FIELDS, clean_text, refuse_unknown
from api.chat.openapi import TOOL_CHOICE, TOOLS
from api.chat.schema_keywords import enforceable
from api.chat.spec import MOST_TOOLS
from api.chat.tools.use import AUTO, NONE, REQUIRED, ToolUse, tool_use_of
from api.json_types import JsonObject
from api.runtime.server_tools import tool_names
from api.strict import nearest

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LONGEST_DESCRIPTION = 10_000
MOST_CHARACTERS = 200_000
"""Of all tools together, as JSON."""
MODES = (NONE, AUTO, REQUIRED)
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "server_tools", "max_tool_turns", "max_tool_calls")


@extend_schema_field(TOOLS)
class ToolsField(serializers.Field[list[JsonObject], object, list[JsonObject], object]):
    """Functions alone. Their schemas are checked by `check_tools`, which knows whether one must be called."""

    def to_internal_value(self, data: object) -> list[JsonObject]:
        if not isinstance(data, list):
            raise ValidationError("Must be a list of tools.")
        if len(data) > MOST_TOOLS:
            raise ValidationError(f"There are {len(data)} tools; {MOST_TOOLS} is the limit.", code="too_many")
        text = json.dumps(data, ensure_ascii=False)
        clean_text(text.replace("\\u0000", "\x00"))
        if len(text) > MOST_CHARACTERS:
            raise ValidationError(f"The tools have {len(text)} characters; {MOST_CHARACTERS} is the limit.", code="too_long")
        return read_each(data, read_tool)

    def to_representation(self, value: list[JsonObject]) -> list[JsonObject]:
        return value


@extend_schema_field(TOOL_CHOICE)
class ToolChoiceField(serializers.Field[Any, object, Any, object]):
    def to_internal_value(self, data: object) -> Any:
        if data in MODES:
            return data
        if not isinstance(data, Mapping):
            raise ValidationError(f"Must be {', '.join(MODES)}, or an object that names a function.")
        if data.get("type") == "function":
            return {"type": "function", "function": {"name": name_in(data)}}
        if data.get("type") == "allowed_tools":
            return {"type": "allowed_tools", "allowed_tools": read_allowed(data.get("allowed_tools"))}
        raise ValidationError({"type": "Must be function or allowed_tools."})

    def to_representation(self, value: Any) -> Any:
        return value


def read_each(data: list[Any], read: Any) -> list[Any]:
    found = []
    for place, one in enumerate(data):
        try:
            found.append(read(one))
        except ValidationError as error:
            raise ValidationError({str(place): error.detail}) from None
    return found


def read_tool(tool: Any) -> JsonObject:
    if not isinstance(tool, Mapping):
        raise ValidationError("Must be an object with a type and a function.")
    if tool.get("type", "function") != "function":
        raise ValidationError(
            {"type": f"There are no tools of the type {tool.get('type')!r} here, only functions."}, code="unsupported"
        )
    refuse_unknown(tool, ("type", "function", *IGNORED_FIELDS))
    if not isinstance(tool.get("function"), Mapping):
        raise ValidationError({"function": "Must be an object with a name."})
    try:
        return {"type": "function", "function": read_function(tool["function"])}
    except ValidationError as error:
        raise ValidationError({"function": error.detail}) from None


def read_function(given: Mapping[str, Any]) -> JsonObject:
    refuse_unknown(given, ("name", "description", "parameters", "strict"))
    name, description = given.get("name"), given.get("description") or ""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValidationError({"name": "Must be 1 to 64 letters, digits, _, - and . without spaces."})
    if not isinstance(description, str) or len(description) > LONGEST_DESCRIPTION:
        raise ValidationError({"description": f"Must be a text of up to {LONGEST_DESCRIPTION} characters."})
    if not isinstance(given.get("parameters") or {}, Mapping):
        raise ValidationError({"parameters": "Must be a JSON schema."})
    if given.get("strict") not in (None, True, False):
        raise ValidationError({"strict": "Must be true or false."})
    found: JsonObject = {"name": name, "description": description, "parameters": given.get("parameters")}
    return {**{key: value for key, value in found.items() if value}, **({"strict": True} if given.get("strict") else {})}


def name_in(choice: Mapping[str, Any]) -> str:
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise ValidationError({"function": "Must be an object with the name of a tool."})
    return name


def read_allowed(data: Any) -> JsonObject:
    if not isinstance(data, Mapping) or data.get("mode") not in (AUTO, REQUIRED) or not isinstance(data.get("tools"), list):
        raise ValidationError({"allowed_tools": "Must be an object with a mode (auto, required) and a list of tools."})
    names = [name_in(one) if isinstance(one, Mapping) else "" for one in data["tools"]]
    return {"mode": data["mode"], "tools": [{"type": "function", "function": {"name": name}} for name in names]}


def check_server_tools(names: Iterable[str]) -> list[str]:
    """Each once. Raises ValidationError."""
    for name in names:
        if name not in tool_names():
            raise ValidationError(
                f"This server has no tool {name!r} of its own.{nearest(name, tool_names())}", code="unknown_tool"
            )
    return list(dict.fromkeys(names))


def check_server_use(data: Mapping[str, Any]) -> None:
    """What goes with `server_tools`, and what doesn't. Raises ValidationError."""
    if data.get("server_tools"):
        if data.get("n", 1) > 1:
            raise ValidationError({"n": ["With server_tools there is one answer, since the server goes on from it."]})
    elif unused := next((name for name in ("max_tool_turns", "max_tool_calls") if name in data), None):
        raise ValidationError({unused: ["Goes with server_tools, and only with those."]})


def check_tools(data: Mapping[str, Any], own: Sequence[JsonObject] = ()) -> ToolUse | None:
    """What a request's tools come to, with the server's `own` that it asks for; None where it has none, or may call none.

    Raises ValidationError.
    """
    tools, choice = [*(data.get("tools") or ()), *own], data.get("tool_choice")
    names = [tool["function"]["name"] for tool in tools]
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise ValidationError({"tools": [f"There are two tools with the name {twice!r}."]})
    if not tools and choice not in (None, NONE, AUTO):
        raise ValidationError({"tool_choice": ["There are no tools to choose from."]})
    for name in chosen_names(choice):
        if name not in names:
            raise ValidationError({"tool_choice": [f"There is no tool with the name {name!r}."]}, code="unknown_tool")
    use = tool_use_of(tools, choice, data.get("parallel_tool_calls"))
    if use is not None:
        check_schemas(use, names)
    return use


def chosen_names(choice: Any) -> list[str]:
    if not isinstance(choice, Mapping):
        return []
    if choice["type"] == "function":
        return [choice["function"]["name"]]
    return [one["function"]["name"] for one in choice["allowed_tools"]["tools"]]


def check_schemas(use: ToolUse, names: list[str]) -> None:
    """A strict tool has a schema that can be followed to the letter; of others, what can't be is left out."""
    for tool in use.constrained.tools:
        found = enforceable(tool.schema)
        if fault := found.strict_fault() if tool.is_strict else found.fault:
            place = names.index(tool.name)
            detail = {"tools": {str(place): {"function": {"parameters": [f"This schema can't be followed: {fault}"]}}}}
            raise ValidationError(detail, code="invalid_schema")


def ignored_keywords(use: ToolUse | None) -> dict[str, tuple[str, ...]]:
    """By the tool's name."""
    return {tool.name: enforceable(tool.schema).ignored for tool in use.constrained.tools} if use else {}
