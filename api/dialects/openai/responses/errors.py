"""What is wrong with a chat's request, by the names and places of OpenAI's Responses."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError

from api.dialects.openai.errors import in_their_words
from api.dialects.openai.responses.items import INPUT, ReadInput

NAMES = {"max_tokens": "max_output_tokens", "logprobs": "include", "replace_from": "previous_response_id"}
PARAMS = {"messages": INPUT, "response_format": "text.format", "max_tokens": "max_output_tokens"}
"""The fields that a chat's errors blame."""
IN_CALLS = {"id": "call_id", "function.name": "name", "function.arguments": "arguments"}


def in_words_of_responses(error: ValidationError, read: ReadInput) -> Exception:
    if not isinstance(error.detail, dict):
        return error
    detail: dict[str, Any] = dict(error.detail)
    if "messages" in detail:
        detail[INPUT] = of_messages(detail.pop("messages"), read)
    if "response_format" in detail:
        detail["text"] = {"format": lifted(detail.pop("response_format"), "json_schema")}
    for name in ("tools", "tool_choice"):
        if isinstance(detail.get(name), dict):
            detail[name] = lifted(detail[name], "function", "allowed_tools")
    return in_their_words(ValidationError(detail), NAMES)


def lifted(detail: Any, *inner: str) -> Any:
    """What is said of parts of these objects, which theirs has not: as of the object around them."""
    if not isinstance(detail, dict):
        return detail
    found: dict[str, Any] = {}
    for name, value in detail.items():
        value = lifted(value, *inner)
        if name in inner and not isinstance(value, dict):
            return value
        found |= value if name in inner else {name: value}
    return found


def of_messages(detail: Any, read: ReadInput) -> Any:
    if not isinstance(detail, dict):
        return detail
    found: dict[str, Any] = {}
    for name, said in detail.items():
        place = read.places[int(name)] if name.isdigit() and int(name) < len(read.places) else None
        if place is None or not isinstance(said, dict):
            found[str(place.item) if place else name] = said
        elif isinstance(calls := said.get("tool_calls"), dict):
            found |= {str(place.calls[int(call)]): in_names(one) for call, one in calls.items()}
        else:
            found[str(place.item)] = of_message(said, is_result=read.messages[int(name)]["role"] == "tool")
    return said_of_text(found) if read.is_text else found


def said_of_text(found: Mapping[str, Any]) -> Any:
    """Of an input without items, which has no places."""
    [said] = found.values()
    return said.get("content", said) if isinstance(said, dict) else said


def in_names(detail: Any) -> Any:
    return {IN_CALLS.get(name, name): said for name, said in detail.items()} if isinstance(detail, Mapping) else detail


def of_message(detail: Mapping[str, Any], *, is_result: bool) -> dict[str, Any]:
    names = {"tool_call_id": "call_id", **({"content": "output"} if is_result else {})}
    return {names.get(name, name): of_parts(said) for name, said in detail.items()}


def of_parts(detail: Any) -> Any:
    if not isinstance(detail, dict):
        return detail
    return {name: of_image(said) if isinstance(said, dict) else said for name, said in detail.items()}


def of_image(detail: dict[str, Any]) -> dict[str, Any]:
    image = detail.get("image_url")
    if not isinstance(image, dict):
        return detail
    return {"image_url" if name == "url" else name: said for name, said in image.items()}
