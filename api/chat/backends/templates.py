"""From messages and tools to the text of a prompt, by the model's chat template."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from api.chat.backends.escaping import SpecialTokenEscaper
from api.chat.backends.request import ChatRequest, ToolCall, Turn
from api.chat.tools.formats import ToolFormat, format_of, knows_tools
from api.chat.tools.prompts import call_text, explain_tools, result_text
from api.errors import DarkroomError
from api.loading.chat import ChatModel

Message = dict[str, Any]
"""As a chat template gets it."""
FALLBACK_TEMPLATES = {
    "blip-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: {{ m['text'] }} Answer:"
    "{% endif %}{% endfor %}",
    "kosmos-2": "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['text'] }}\n{% else %}Question: "
    "{{ m['text'] }} Answer:{% endif %}{% endfor %}",
    "": "{% for m in messages %}{{ m['text'] }}\n{% endfor %}",
}
"""By model_type, for models without a chat template; '' is for base models, which continue a text."""


def template_of(chat: ChatModel) -> str | None:
    return getattr(chat.processor, "chat_template", None) or getattr(chat.tokenizer, "chat_template", None)


def render(chat: ChatModel, request: ChatRequest, escaper: SpecialTokenEscaper) -> str:
    """The messages as the model's template writes them. What it refuses is written more plainly, as far as that says the same."""
    template = template_of(chat)
    tool_format, use = format_of(template), request.tool_use
    messages = [message_for(turn, escaper, tool_format, parts=chat.processor is not None) for turn in request.turns]
    if template is not None and knows_tools(template):
        tools = [escaper.escape_json(tool.definition) for tool in use.tools] if use else None
        forms = [messages, [one for message in messages for one in split_calls(message)]]
    else:
        tools, spoken = None, [in_words(message) for message in messages]
        explanation = escaper.escape(explain_tools(use)) if use else ""
        forms = [with_system(spoken, explanation), with_preface(spoken, explanation)] if use else [spoken]
    return apply_template(chat, forms, tools)


def apply_template(chat: ChatModel, forms: Sequence[list[Message]], tools: list[Any] | None) -> str:
    """With the first of the forms that the template takes. Raises DarkroomError (messages_refused)."""
    renderer = chat.processor if getattr(chat.processor, "chat_template", None) else chat.tokenizer
    template = None
    if template_of(chat) is None:
        template = FALLBACK_TEMPLATES.get(chat.config.model_type, FALLBACK_TEMPLATES[""])
    options = {"tools": tools} if tools else {}
    refusals = []
    for messages in forms:
        try:
            return str(
                renderer.apply_chat_template(
                    messages, chat_template=template, tokenize=False, add_generation_prompt=True, **options
                )
            )
        except TemplateError as error:
            refusals.append(" ".join(str(error).split())[:200])
    detail = f"This model's template refuses these messages: {refusals[0]}"
    raise DarkroomError("messages_refused", 400, detail, field="messages")


def message_for(turn: Turn, escaper: SpecialTokenEscaper, tool_format: ToolFormat, *, parts: bool) -> Message:
    text = escaper.escape(turn.text)
    content = [
        {"type": "text", "text": escaper.escape(part.text)} if part.image is None else {"type": "image"} for part in turn.parts
    ]
    message: Message = {"role": turn.role, "content": content if parts else text, "text": text}
    if turn.calls:
        message["tool_calls"] = [call_for(call, escaper, tool_format) for call in turn.calls]
    if turn.answers is not None:
        message |= {"name": escaper.escape(turn.answers.name), "tool_call_id": call_id(turn.answers.id, tool_format)}
    return message


def call_for(call: ToolCall, escaper: SpecialTokenEscaper, tool_format: ToolFormat) -> Message:
    """Arguments as an object, which templates write as JSON; what is none stays the text that it was."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = call.arguments
    function = {"name": escaper.escape(call.name), "arguments": escaper.escape_json(arguments)}
    return {"id": call_id(call.id, tool_format), "type": "function", "function": function}


def call_id(given: str, tool_format: ToolFormat) -> str:
    length = tool_format.id_length
    return hashlib.sha256(given.encode()).hexdigest()[:length] if length else given


# What templates can't take otherwise


def split_calls(message: Message) -> list[Message]:
    """Of a message with several calls, one for each: some templates take no more."""
    calls = message.get("tool_calls", [])
    if len(calls) < 2:
        return [message]
    return [{**message, "tool_calls": [call], **({} if not number else {"content": ""})} for number, call in enumerate(calls)]


def in_words(message: Message) -> Message:
    """Calls and results as text."""
    texts = [
        call_text(call["function"]["name"], as_json(call["function"]["arguments"])) for call in message.get("tool_calls", [])
    ]
    if texts:
        return with_text(message, "\n".join(filter(None, [message["text"], *texts])))
    if message["role"] == "tool":
        return {**with_text(message, result_text(message["name"], message["text"])), "role": "user"}
    return message


def as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def with_text(message: Message, text: str) -> Message:
    """The message with another text; its pictures stay."""
    content = message["content"]
    pictures = [] if isinstance(content, str) else [part for part in content if part["type"] != "text"]
    written = text if isinstance(content, str) else [{"type": "text", "text": text}, *pictures]
    return {"role": message["role"], "content": written, "text": text}


def with_system(messages: list[Message], text: str) -> list[Message]:
    """`text` in front of the system message's."""
    head = messages[0] if messages[0]["role"] == "system" else None
    if head is not None:
        return [with_text(head, f"{text}\n\n{head['text']}"), *messages[1:]]
    content = text if isinstance(messages[0]["content"], str) else [{"type": "text", "text": text}]
    return [{"role": "system", "content": content, "text": text}, *messages]


def with_preface(messages: list[Message], text: str) -> list[Message]:
    """`text` in front of the first question's, for templates without a system message."""
    place = next((number for number, message in enumerate(messages) if message["role"] == "user"), 0)
    asked = messages[place]
    return [*messages[:place], with_text(asked, f"{text}\n\n{asked['text']}"), *messages[place + 1 :]]
