"""Input items of OpenAI's Responses as messages of a chat, and a job's messages as items."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_framework.exceptions import ValidationError

from api.chat.messages import refuse_unknown
from api.chat.neutral_fields import is_empty
from api.chat.spec import MOST_MESSAGES, PartParams, TurnParams, answered_call, calls_of
from api.files.inputs import HERE
from api.json_types import JsonObject
from api.strict import nearest

INPUT = "input"
ROLES = ("user", "assistant", "system", "developer")
TEXTS = {"input_text": "text", "output_text": "text", "summary_text": "text", "refusal": "refusal"}
"""Kinds of parts that are text, and where they have it."""
IDLE = ("id", "status", "phase", "caller", "namespace", "created_by", "async")
"""Fields of items that are accepted and ignored."""
IDLE_OF_PARTS = ("annotations", "logprobs", "prompt_cache_breakpoint")
DETAILS = {"original": "high"}
MOST_ITEMS = 2 * MOST_MESSAGES
"""Calls of one turn are one message."""
HOSTED = (
    "file_search_call", "computer_call", "computer_call_output", "web_search_call", "image_generation_call", "code_interpreter_call",
    "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output",
    "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "mcp_call", "custom_tool_call", "custom_tool_call_output",
    "tool_search_call", "tool_search_output", "compaction", "compaction_trigger", "program", "program_output", "additional_tools",
)  # fmt: skip
NO_FILES = "Files are not read here: send their text as input_text, or a picture as input_image."
FindItem = Callable[[str], JsonObject]
"""An item by the id that an earlier response gave it. Raises ValidationError."""


@dataclass
class Place:
    """Where a message comes from: an item, and an item for each of its calls."""

    item: int
    calls: list[int] = field(default_factory=list)


@dataclass
class ReadInput:
    messages: list[dict[str, Any]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    is_text: bool = False
    reasoning: int = 0
    """Items with somebody's reasoning, which no model here is told."""

    def add(self, message: JsonObject, place: int) -> None:
        self.messages.append(message)
        self.places.append(Place(place))


def read_input(value: object, find_item: FindItem) -> ReadInput:
    """Raises ValidationError by the names of OpenAI's fields. What messages may hold is checked by the chat's own serializer."""
    if isinstance(value, str):
        return ReadInput([{"role": "user", "content": value}], [Place(0)], is_text=True)
    if not isinstance(value, list) or not value:
        raise ValidationError({INPUT: ["Must be a text, or a list of at least one item."]})
    if len(value) > MOST_ITEMS:
        raise ValidationError({INPUT: [f"There are {len(value)} items; {MOST_ITEMS} is the limit."]}, code="too_many")
    found = ReadInput()
    for place, item in enumerate(value):
        try:
            add_item(found, item, place, find_item)
        except ValidationError as error:
            raise ValidationError({INPUT: {str(place): error.detail}}) from None
    if not found.messages:
        raise ValidationError({INPUT: ["There is nothing in it that a model could be told."]}, code="empty")
    return found


def add_item(found: ReadInput, item: Any, place: int, find_item: FindItem) -> None:
    if not isinstance(item, Mapping):
        raise ValidationError("Must be an object with a type, or with a role and a content.")
    kind = kind_of(item)
    if kind == "item_reference":
        item = find_item(str(item["id"]))
        kind = kind_of(item)
    if kind == "message":
        found.add(read_message(item), place)
    elif kind == "function_call":
        add_call(found, item, place)
    elif kind == "function_call_output":
        found.add(read_output(item), place)
    elif kind == "reasoning":
        found.reasoning += any(not is_empty(item.get(name)) for name in ("summary", "content", "encrypted_content"))
    else:
        raise refused_kind(kind)


def kind_of(item: Mapping[str, Any]) -> object:
    """References and messages may leave it out."""
    if is_empty(item.get("type")):
        return "item_reference" if "id" in item and "role" not in item else "message"
    return item["type"]


def refused_kind(kind: object) -> ValidationError:
    if kind in HOSTED:
        return ValidationError({"type": f"'{kind}' is of a tool that this server doesn't have."}, code="unsupported")
    known = ["message", "function_call", "function_call_output", "reasoning", "item_reference"]
    return ValidationError({"type": f"There is no item {kind!r}.{nearest(str(kind), known)}"}, code="unknown_item")


def read_message(item: Mapping[str, Any]) -> JsonObject:
    refuse_unknown(item, ("type", "role", "content", *IDLE))
    role = item.get("role")
    if role not in ROLES:
        raise ValidationError({"role": f"There is no role {role!r}.{nearest(str(role), list(ROLES))}"}, code="unknown_role")
    return {"role": role, "content": read_content(item.get("content"), "content")}


def read_content(content: Any, name: str) -> Any:
    if not isinstance(content, list):
        return content
    parts = []
    for place, part in enumerate(content):
        try:
            parts.append(read_part(part))
        except ValidationError as error:
            raise ValidationError({name: {str(place): error.detail}}) from None
    return parts


def read_part(part: Any) -> JsonObject:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in TEXTS:
        refuse_unknown(part, ("type", TEXTS[kind], *IDLE_OF_PARTS))
        if not isinstance(part.get(TEXTS[kind]), str):
            raise ValidationError({TEXTS[kind]: "Must be a text."})
        return {"type": "text", "text": part[TEXTS[kind]]}
    if kind == "input_image":
        return read_image(part)
    if kind in ("input_file", "input_audio"):
        raise ValidationError({"type": NO_FILES}, code="unsupported")
    known = [*TEXTS, "input_image"]
    raise ValidationError({"type": f"There is no part {kind!r}.{nearest(str(kind), known)}"}, code="unknown_part")


def read_image(part: Mapping[str, Any]) -> JsonObject:
    refuse_unknown(part, ("type", "image_url", "file_id", "detail", *IDLE_OF_PARTS))
    url, file_id = part.get("image_url"), part.get("file_id")
    if (url is None) == (file_id is None):
        raise ValidationError({"image_url": "A picture is given by its image_url, or by the file_id of one that is here."})
    detail = part.get("detail")
    image = {
        "url": url if file_id is None else f"{HERE}{file_id}",
        "detail": DETAILS.get(detail, detail) if isinstance(detail, str) else detail,
    }
    return {"type": "image_url", "image_url": image}


def add_call(found: ReadInput, item: Mapping[str, Any], place: int) -> None:
    """Calls of one turn are one message, and so is what was said before them."""
    refuse_unknown(item, ("type", "call_id", "name", "arguments", *IDLE))
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    call = {"id": item.get("call_id"), "type": "function", "function": function}
    if not found.messages or found.messages[-1]["role"] != "assistant":
        found.add({"role": "assistant", "content": None}, place)
    found.messages[-1].setdefault("tool_calls", []).append(call)
    found.places[-1].calls.append(place)


def read_output(item: Mapping[str, Any]) -> JsonObject:
    refuse_unknown(item, ("type", "call_id", "output", "name", *IDLE))
    output = read_content(item.get("output"), "output")
    return {"role": "tool", "tool_call_id": item.get("call_id"), "content": "" if output == [] else output}


# ---------------------------------------------------------------- from a job's messages to items


def items_of(turns: Iterable[TurnParams], make_id: Callable[[str, int], str]) -> list[dict[str, Any]]:
    """`make_id` is told the prefix and the number of an item."""
    found: list[dict[str, Any]] = []
    for item in (item for turn in turns for item in items_of_turn(turn)):
        prefix = {"function_call": "fc", "function_call_output": "fco"}.get(item["type"], "msg")
        found.append({"id": make_id(prefix, len(found)), **item})
    return found


def items_of_turn(turn: TurnParams) -> Iterator[dict[str, Any]]:
    if answered := answered_call(turn):
        text = "\n".join(part["text"] for part in turn["parts"] if part["type"] == "text")
        yield {"type": "function_call_output", "call_id": answered["id"], "output": text, "status": "completed"}
        return
    content = [part_of(part, turn["role"]) for part in turn["parts"] if part["type"] in ("text", "image")]
    if content:
        yield {"type": "message", "role": turn["role"], "content": content, "status": "completed"}
    yield from (call_item(call) for call in calls_of(turn))


def part_of(part: PartParams, role: str) -> JsonObject:
    if part["type"] == "image":
        return {"type": "input_image", "image_url": f"{HERE}{part['image']}", "file_id": None, "detail": part["detail"]}
    return text_part(part["text"]) if role == "assistant" else {"type": "input_text", "text": part["text"]}


def text_part(text: str, logprobs: Sequence[Any] = ()) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def call_item(call: Mapping[str, Any], status: str = "completed") -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": call["name"],
        "arguments": call["arguments"],
        "status": status,
    }
