"""Tools in words, for models whose chat template has no place for them."""

import json

from api.chat.tools.formats import HERMES_BLOCK
from api.chat.tools.use import ToolUse

EXPLANATION = """You may call functions. They are described here as JSON, one in a line:
{tools}
To call one, answer with nothing but
{begin}
{{"name": the function's name, "arguments": an object with its arguments}}
{end}
The results come with the next message. Where no function is needed, answer in words."""


def explain_tools(use: ToolUse) -> str:
    """For the system message."""
    tools = "\n".join(json.dumps(tool.definition["function"], ensure_ascii=False) for tool in use.tools)
    return EXPLANATION.format(tools=tools, begin=HERMES_BLOCK.begin, end=HERMES_BLOCK.end)


def call_text(name: str, arguments: str) -> str:
    """A call that was made, as a model without a form of its own wrote it."""
    return f'{HERMES_BLOCK.begin}\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n{HERMES_BLOCK.end}'


def result_text(name: str, text: str) -> str:
    return f"Result of {name}:\n{text}"
