"""The forms in which families of models write calls, told apart by the text of their chat templates.

Sources: the chat templates of Qwen 2.5 and Hermes 2 Pro, Llama 3.1 and 3.2, Mistral v3 to v13, Phi-4-mini, FunctionGemma and Gemma 4.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Syntax = Literal["json", "gemma"]


@dataclass(frozen=True)
class Block:
    """Text around one or more calls. `end`: "" where the block lasts as long as there are calls."""

    begin: str
    end: str = ""
    syntax: Syntax = "json"
    quote: str = ""
    """What stands around a text in Gemma's syntax."""


@dataclass(frozen=True)
class ToolFormat:
    name: str
    blocks: tuple[Block, ...]
    """The first is the one that a constrained answer has."""
    arguments: str = "arguments"
    """The key beside "name"."""
    is_bare: bool = False
    """Whether an answer may begin with a call's JSON, without a marker."""
    is_list: bool = False
    """Whether the calls of a block are a JSON list."""
    gap: str = ""
    """Between a marker and the JSON."""
    takes_several: bool = True
    """Whether a message of the model's may have more than one call."""
    id_length: int | None = None
    """Of a call's id, where the template wants one of letters and digits."""

    @property
    def markers(self) -> tuple[str, ...]:
        return tuple(marker for block in self.blocks for marker in (block.begin, block.end) if marker)


HERMES_BLOCK = Block("<tool_call>", "</tool_call>")
HERMES = ToolFormat("hermes", (HERMES_BLOCK,), gap="\n")
LLAMA = ToolFormat("llama", (Block(""), Block("<|python_tag|>")), arguments="parameters", is_bare=True, takes_several=False)
MISTRAL = ToolFormat("mistral", (Block("[TOOL_CALLS]"),), is_list=True, id_length=9)
PHI = ToolFormat("phi", (Block("<|tool_call|>", "<|/tool_call|>"), Block("functools")))
GEMMA = ToolFormat("gemma", (HERMES_BLOCK, Block("<|tool_call>", "<tool_call|>", "gemma", '<|"|>')), gap="\n")
FUNCTION_GEMMA = ToolFormat(
    "function gemma", (HERMES_BLOCK, Block("<start_function_call>", "<end_function_call>", "gemma", "<escape>")), gap="\n"
)
PLAIN = ToolFormat("plain", (HERMES_BLOCK,), gap="\n", is_bare=True)
"""For models whose template knows no tools: the system message explains it (prompts.py)."""

RECOGNISED: tuple[tuple[Callable[[str], bool], ToolFormat], ...] = (
    (lambda text: "[TOOL_CALLS]" in text, MISTRAL),
    (lambda text: "<start_function_call>" in text, FUNCTION_GEMMA),
    (lambda text: "<|tool_call>" in text, GEMMA),
    (lambda text: "<|tool_call|>" in text or "functools" in text, PHI),
    (lambda text: "<tool_call>" in text, HERMES),
    (lambda text: "<|python_tag|>" in text or '"parameters"' in text, LLAMA),
)


def format_of(template: str | None) -> ToolFormat:
    """By the marks of a template. `template`: None where the model has none."""
    if template is None or not knows_tools(template):
        return PLAIN
    return next((found for is_its, found in RECOGNISED if is_its(template)), HERMES)


def knows_tools(template: str) -> bool:
    """Whether the template has a place for tools, which it gets as the variable `tools`."""
    return re.search(r"\btools\b", template) is not None
