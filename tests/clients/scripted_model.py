"""A model that chooses well, for dialogues that a tiny one can't hold: an OpenAI server behind ours (CHAT_REMOTE_URL).

It calls the tool whose name the question's words have, fills its arguments from the question and the schema, and answers a result by
telling it. JSON without a schema has the keys that the question quotes.
"""

import json
import re
from typing import Any

from tests.scripted_server import Reply, ScriptedServer

NAME = "scripted"


class ScriptedModel(ScriptedServer):
    def usual(self, body: dict[str, Any]) -> Reply:
        return stream_of(answer_to(body))

    def scripted(self, step: Any) -> Reply:
        return Reply(b"{}", "application/json", status=step)


def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    """A delta: content, or tool_calls."""
    last = body["messages"][-1]
    text = text_of(last["content"])
    if name := tool_for(body, text, is_result=last["role"] == "tool"):
        tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in body["tools"]}
        return {"tool_calls": [call_of(name, json.dumps(filled(tools[name], text), ensure_ascii=False))]}
    form = body.get("response_format") or {}
    if form:
        schema = form.get("json_schema", {}).get("schema") or {"properties": {key: {} for key in quoted(text)}}
        return {"content": json.dumps(filled(schema, text), ensure_ascii=False)}
    return {"content": f"It said: {text}" if last["role"] == "tool" else f"You said: {text}"}


def tool_for(body: dict[str, Any], text: str, *, is_result: bool) -> str | None:
    names = [tool["function"]["name"] for tool in body.get("tools", ())]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    fitting = [name for name in names if not is_result and words(name) & words(text)]
    return next(iter(fitting), names[0] if names and choice == "required" else None)


def words(text: str) -> set[str]:
    return {word for word in re.split(r"[\W_]+", text.lower()) if len(word) > 3}


def call_of(name: str, arguments: str) -> dict[str, Any]:
    return {"index": 0, "id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}


def filled(schema: dict[str, Any], text: str, root: dict[str, Any] | None = None) -> Any:
    """The least that fits: its first quoted words as texts, its first number as numbers."""
    root = root or schema
    if reference := schema.get("$ref"):
        schema = root["$defs"][reference.rsplit("/", 1)[1]]
    kind = schema.get("type")
    if "enum" in schema:
        return next((one for one in schema["enum"] if str(one).lower() in text.lower()), schema["enum"][0])
    if choices := schema.get("anyOf"):
        return filled(choices[0], text, root)
    if kind in ("integer", "number"):
        return int(next(iter(re.findall(r"\d+", text)), "1"))
    if kind == "boolean":
        return True
    if kind == "array":
        return [filled(schema.get("items", {}), text, root)]
    if kind == "object" or "properties" in schema:
        return {name: filled(of, text, root) for name, of in schema.get("properties", {}).items()}
    return next(iter(quoted(text)), text[:40])


def quoted(text: str) -> list[str]:
    return re.findall(r"'([^']+)'", text)


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content or ())


def stream_of(delta: dict[str, Any]) -> Reply:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": NAME}
    reason = "tool_calls" if "tool_calls" in delta else "stop"
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": reason}],
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    chunks = [{**head, "choices": one} for one in choices] + [{**head, "choices": [], "usage": usage}]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Reply("".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")
