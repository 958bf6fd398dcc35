"""Reads a model's answer, piece by piece: what is text, and what is a call of a tool.

What looks like a call, and is none (no JSON, or a tool that was not offered), is text.
"""

import json
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from api.chat.overlap import overlap
from api.chat.tools.formats import Block, ToolFormat
from api.chat.tools.gemma import read_gemma_call

HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
"""Up to the arguments: where a call begins so, they are passed on as they come."""
BARE = re.compile(r'\s*(?:\[\s*)?\{\s*"(?:name|type|function)"\s*:')
BARE_BEGINNINGS = re.compile(r'\s*(?:\[\s*)?(?:\{\s*(?:"[a-z]{0,8}"?\s*:?)?)?')
"""What may still become BARE."""
NAMED = re.compile(r"\s*([\w.-]{1,64})\s*(?:\[ARGS\])?\s*(?=\{)")
"""Mistral's newer form: the name, a marker, the arguments."""
BEGUN = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*")')
SEPARATORS = " \t\r\n,;[]"
"""Between calls; nothing of an answer where calls are."""
MOST_NAMED = 100
"""Characters that NAMED may have."""


@dataclass(frozen=True)
class TextPiece:
    text: str


@dataclass(frozen=True)
class CallBegins:
    number: int
    name: str


@dataclass(frozen=True)
class ArgumentsPiece:
    number: int
    text: str


Event = TextPiece | CallBegins | ArgumentsPiece


class CallReader:
    """Of one answer. `names`: of the tools that were offered."""

    def __init__(self, tool_format: ToolFormat, names: Container[str]) -> None:
        self.format, self.names = tool_format, names
        self.events: list[Event] = []
        self.calls = 0
        self.rest = ""  # came, and is not decided
        self.block: Block | None = None
        self.json: JsonCall | None = None
        self.taken = ""  # of the block, and of no call yet: it is text if none comes
        self.begins = True  # nothing but space came

    def feed(self, text: str) -> list[Event]:
        """What is known with the next piece."""
        self.rest += text
        while self.step():
            pass
        return self.hand_over()

    def finish(self) -> list[Event]:
        """What is left at the end of the answer: a call that broke off keeps its arguments as far as they came.

        Behind another call, one that broke off before them is nothing, and no text either.
        """
        if self.calls and self.is_broken_off():
            self.taken, self.rest, self.json = "", "", None
        if self.json is not None and not self.json.began:
            self.taken += self.json.raw
        if self.block is None or self.taken or self.rest.strip(SEPARATORS):
            self.say(self.taken + self.rest)
        self.rest, self.block, self.json, self.taken = "", None, None, ""
        return self.hand_over()

    def is_broken_off(self) -> bool:
        """Whether what is left is the beginning of a mark, or of a call without its arguments."""
        if self.json is not None:
            return not self.json.began
        left = (self.taken + self.rest).strip(SEPARATORS)
        marks = [block.begin for block in self.blocks] + ([self.block.end] if self.block and not self.taken else [])
        return any(mark.startswith(left) for mark in marks)

    def hand_over(self) -> list[Event]:
        found, self.events = self.events, []
        return found

    def say(self, text: str) -> None:
        if text and (self.calls == 0 or text.strip()):
            self.events.append(TextPiece(text))

    def step(self) -> bool:
        """Whether something was decided, so that there may be more."""
        if not self.rest:
            return False
        if self.json is not None:
            return self.read_json(self.json)
        return self.read_block(self.block) if self.block is not None else self.read_text()

    # ---------------------------------------------------------------- outside

    def read_text(self) -> bool:
        if self.begins and self.format.is_bare:
            if BARE.match(self.rest):
                self.begins, self.block, self.taken = False, Block(""), ""
                return True
            if BARE_BEGINNINGS.fullmatch(self.rest):
                return False
        found = [(place, -len(block.begin), block) for block in self.blocks if (place := self.rest.find(block.begin)) >= 0]
        if found:
            place, _, block = min(found, key=lambda one: one[:2])
            self.say(self.rest[:place].rstrip() if self.rest[:place].strip() else "")
            self.rest, self.block, self.taken, self.begins = self.rest[place + len(block.begin) :], block, block.begin, False
            return True
        keep = max((overlap(self.rest, block.begin) for block in self.blocks), default=0)
        keep = len(self.rest) - len(self.rest[: len(self.rest) - keep].rstrip())  # space before a call is not of the text
        text, self.rest = self.rest[: len(self.rest) - keep], self.rest[len(self.rest) - keep :]
        self.begins = self.begins and not text.strip()
        self.say(text)
        return False

    @property
    def blocks(self) -> list[Block]:
        return [block for block in self.format.blocks if block.begin]

    # ---------------------------------------------------------------- within a block

    def read_block(self, block: Block) -> bool:
        if block.syntax == "gemma":
            return self.read_gemma(block)
        text = self.rest.lstrip(SEPARATORS)
        if not block.end and any(self.rest.lstrip("] \n").startswith(one.begin) for one in self.blocks):
            return self.close(self.rest)
        if not text or (not block.end and any(overlap(self.rest, one.begin) for one in self.blocks)):
            return False
        if block.end and text.startswith(block.end):
            self.say(self.taken + block.end if self.taken else "")
            return self.close(text[len(block.end) :])
        if block.end and block.end.startswith(text):
            return False
        if text[0] == "{":
            self.taken += self.rest[: len(self.rest) - len(text)] if self.taken else ""
            self.rest, self.json = text, JsonCall(self)
            return True
        if named := NAMED.match(text):
            if named[1] in self.names:
                self.rest, self.json = text[named.end() :], JsonCall(self, named[1])
                return True
        elif re.fullmatch(r"[\w.\s-]*(\[A?R?G?S?\]?)?\s*", text) and len(text) < MOST_NAMED:
            return False
        return self.give_up(self.rest)

    def close(self, rest: str) -> bool:
        self.rest, self.block, self.taken = rest, None, ""
        return True

    def give_up(self, rest: str) -> bool:
        """This is no call: what was taken for one is text, and what comes is looked at anew."""
        self.say(self.taken + rest[:1])
        return self.close(rest[1:])

    def read_gemma(self, block: Block) -> bool:
        parts = self.rest.split(block.quote)
        place = next((number for number in range(0, len(parts), 2) if block.end in parts[number]), None)
        if place is None:
            return False
        end = len(block.quote.join([*parts[:place], parts[place].partition(block.end)[0]]))
        found = read_gemma_call(self.rest[:end], block.quote)
        if found is None or found[0] not in self.names:
            self.say(self.taken + self.rest[: end + len(block.end)])
        else:
            self.begin(found[0])
            self.events.append(ArgumentsPiece(self.calls - 1, json.dumps(found[1], ensure_ascii=False)))
        return self.close(self.rest[end + len(block.end) :])

    def begin(self, name: str) -> int:
        if self.block is not None and self.taken.strip(SEPARATORS) not in ("", self.block.begin.strip(SEPARATORS)):
            self.say(self.taken)  # another one in the same block, which was none
        self.events.append(CallBegins(self.calls, name))
        self.calls += 1
        self.taken = ""
        return self.calls - 1

    def read_json(self, call: "JsonCall") -> bool:
        used = call.feed(self.rest)
        self.rest = self.rest[used:]
        if not call.is_complete:
            return False
        self.json = None
        if not call.began:
            self.taken += call.raw
            if self.block is not None and not self.block.end:
                self.say(self.taken)
                self.close(self.rest)
        return True


class JsonCall:
    """A call that is being read: an object with its name and its arguments; with `name`, the arguments alone."""

    def __init__(self, reader: CallReader, name: str = "") -> None:
        self.reader, self.raw = reader, ""
        self.depth, self.in_text, self.escaped = 0, False, False
        self.number = reader.begin(name) if name else -1
        self.inner = 0 if name else 1
        """The depth at which the arguments end."""
        self.passing = bool(name)
        self.looks_for_head = not name
        self.is_complete = False

    @property
    def began(self) -> bool:
        return self.number >= 0

    def feed(self, text: str) -> int:
        """How many characters of it belong to the call."""
        passed = 0  # behind it, `text` is not passed on yet
        for place, character in enumerate(text):
            self.raw += character
            if self.looks_for_head and character == "{" and self.depth == 1 and not self.in_text:
                self.looks_for_head = False
                if self.find_head():
                    passed = place
            self.count(character)
            if self.passing and self.depth == self.inner and character == "}" and not self.in_text:
                self.passing = False
                self.pass_on(text[passed : place + 1])
            if self.depth == 0:
                self.end()
                return place + 1
        if self.passing:
            self.pass_on(text[passed:])
        return len(text)

    def count(self, character: str) -> None:
        if self.escaped:
            self.escaped = False
        elif self.in_text:
            self.escaped, self.in_text = character == "\\", character != '"'
        elif character == '"':
            self.in_text = True
        elif character in "{[":
            self.depth += 1
        elif character in "}]":
            self.depth -= 1

    def find_head(self) -> bool:
        head = HEAD.match(self.raw)
        name = read_json(head[1]) if head else None
        if name not in self.reader.names:
            return False
        self.number, self.passing = self.reader.begin(str(name)), True
        return True

    def pass_on(self, text: str) -> None:
        if text:
            self.reader.events.append(ArgumentsPiece(self.number, text))

    def end(self) -> None:
        """An object in another order, or with its arguments as a text, is read now that all of it is there."""
        self.is_complete = True
        if self.began:
            return
        name, arguments = name_and_arguments(read_json(self.raw))
        if name in self.reader.names:
            self.number = self.reader.begin(str(name))
            self.pass_on(arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))


def begun_name(text: str) -> str:
    """The tool's, of a call that broke off; '' where that was not written yet."""
    found = BEGUN.search(text)
    return str(read_json(found[1])) if found else ""


def name_and_arguments(call: Any) -> tuple[object, object]:
    """Of {"name", "arguments"}, {"name", "parameters"}, or either as "function" of an object; (None, None) of anything else."""
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call = call["function"]
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None, None
    return call["name"], next((call[key] for key in ("arguments", "parameters") if call.get(key) is not None), {})


def read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
