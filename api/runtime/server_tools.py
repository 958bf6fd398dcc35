"""Tools that this server runs itself for a chat model that calls them. Capabilities register theirs from their apps.py, so that the chat
offers them without importing any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.access.scopes import Principal
from api.jobs.api.submission import Submission
from api.jobs.models import Job
from api.json_types import JsonObject

IMAGE = "image"
"""The field of a serializer that takes the picture which a tool looks at."""


@dataclass(frozen=True)
class Report:
    """What the model is told of a job that succeeded. `pictures`: ids of those that it made."""

    facts: JsonObject
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServerTool:
    """`properties` and `required` are the JSON Schema of its arguments, by the names that `serializer` has for them."""

    name: str
    description: str
    serializer: Callable[..., Any]
    """Reads a call's arguments: the one that reads the bodies of this capability's address."""
    report: Callable[[Job], Report]
    properties: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    looks_at_picture: bool = True

    def read(self, arguments: JsonObject, principal: Principal) -> Submission:
        """The job that a call asks for. Raises ValidationError and DarkroomError, as a request to the address would."""
        serializer = self.serializer(data=arguments, context={"principal": principal})
        serializer.is_valid(raise_exception=True)
        return serializer.resolve()  # type: ignore[no-any-return]


_tools: dict[str, ServerTool] = {}


def register(tool: ServerTool) -> None:
    _tools[tool.name] = tool


def tool_names() -> list[str]:
    return sorted(_tools)


def find_tool(name: str) -> ServerTool:
    """Raises KeyError."""
    return _tools[name]
