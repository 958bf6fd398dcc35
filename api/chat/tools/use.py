"""The tools of one request, and which of them must or may be called."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.chat.json_schemas import closing_length
from api.json_types import JsonObject

MARKS = 60
"""Characters of a call beside its name and arguments."""
AUTO, REQUIRED, NAMED, NONE = "auto", "required", "named", "none"


@dataclass(frozen=True)
class Tool:
    definition: dict[str, Any]
    """OpenAI's form: {"type": "function", "function": {"name", "description", "parameters", "strict"}}."""

    @property
    def name(self) -> str:
        return str(self.definition["function"]["name"])

    @property
    def is_strict(self) -> bool:
        return bool(self.definition["function"].get("strict"))

    @property
    def schema(self) -> JsonObject:
        """Of its arguments, which are an object. A tool without a schema takes none."""
        given: dict[str, Any] = self.definition["function"].get("parameters") or {
            "properties": {},
            "additionalProperties": False,
        }
        return given if "type" in given or "$ref" in given or "anyOf" in given else {"type": "object", **given}


@dataclass(frozen=True)
class ToolUse:
    tools: tuple[Tool, ...]
    choice: str = AUTO
    """auto, required or named"""
    parallel: bool = True
    name: str = ""
    """The tool that must be called, where one is named."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools)

    @property
    def is_named(self) -> bool:
        return self.choice == NAMED

    @property
    def is_forced(self) -> bool:
        return self.choice != AUTO

    @property
    def closing_length(self) -> int:
        """Characters that are enough to end a call that has begun."""
        return max((MARKS + len(tool.name) + closing_length(tool.schema) for tool in self.constrained.tools), default=0)

    @property
    def constrained(self) -> "ToolUse":
        """With the tools that an answer may call."""
        return replace(self, tools=tuple(tool for tool in self.tools if tool.name == self.name)) if self.is_named else self


def tool_use_of(tools: object, choice: object, parallel: bool | None) -> ToolUse | None:
    """Of a request's fields, which were validated; None where nothing may be called."""
    found: Any = tools
    if not found or choice == NONE:
        return None
    offered = tuple(Tool(dict(one)) for one in found)
    if isinstance(choice, Mapping):
        if choice["type"] == "function":
            return ToolUse(offered, NAMED, parallel is not False, choice["function"]["name"])
        allowed = {one["function"]["name"] for one in choice["allowed_tools"]["tools"]}
        offered = tuple(tool for tool in offered if tool.name in allowed)
        choice = choice["allowed_tools"]["mode"]
    return ToolUse(offered, str(choice or AUTO), parallel is not False)
