"""What an answer with calls may be, as a grammar of llguidance (Lark with %json): names are of the tools, arguments fit their schemas."""

import json
from collections.abc import Mapping

from api.chat.schema_keywords import schema_text
from api.chat.tools.formats import ToolFormat
from api.chat.tools.use import Tool, ToolUse
from api.json_types import JsonObject

ANSWER = "answer"
MOST_CALLS = 16
MORE = f"{{0,{MOST_CALLS - 1}}}"
"""Behind the first: a small model that must call repeats itself until its tokens are used up."""


def calls_grammar(
    tool_format: ToolFormat, use: ToolUse, token_ids: Mapping[str, int], answer_schema: JsonObject | None = None
) -> str:
    """One call, or up to MOST_CALLS where several are wanted. `token_ids`: of markers that are tokens of their own.

    `answer_schema`: JSON that the answer may be instead of calls.
    """
    block = tool_format.blocks[0]
    begin, end = (literal(marker, token_ids) for marker in (block.begin, block.end))
    gap = literal(tool_format.gap, {})
    several = use.parallel and not use.is_named and tool_format.takes_several
    if tool_format.is_list:
        more = f' (", " call){MORE}' if several else ""
        calls = join(begin, '"["', "call" + more, '"]"', end)
    else:
        one, line_break = join(begin, gap, "call", gap, end), literal("\n", {})
        calls = f"{one} ({line_break} {one}){MORE}" if several else one
    start = f"calls | {ANSWER}" if answer_schema is not None else "calls"
    rules = [f"start: {start}", f"calls: {calls}", f"call: {' | '.join(f'call_{n}' for n in range(len(use.tools)))}"]
    rules += [f"call_{number}: {call_rule(tool, tool_format.arguments)}" for number, tool in enumerate(use.tools)]
    if answer_schema is not None:
        rules.append(f"{ANSWER}: %json {schema_text(answer_schema)}")
    return "\n".join(rules)


def call_rule(tool: Tool, key: str) -> str:
    head = f'{{"name": {json.dumps(tool.name)}, "{key}": '
    return f'{literal(head, {})} %json {schema_text(tool.schema)} "}}"'


def literal(text: str, token_ids: Mapping[str, int]) -> str:
    if not text:
        return ""
    return f"<[{token_ids[text]}]>" if text in token_ids else json.dumps(text, ensure_ascii=False)


def join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
