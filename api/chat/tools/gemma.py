"""Gemma's syntax of calls: `call:NAME{key:<escape>text<escape>,count:3,list:[1,2],flag:true}`."""

import re
from typing import Any

CALL = re.compile(r"\s*call:([\w.-]{1,64})\s*(\{.*\})\s*", re.DOTALL)
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
WORDS = {"true": True, "false": False, "null": None, "none": None}
DEEPEST = 50


def read_gemma_call(text: str, quote: str) -> tuple[str, dict[str, Any]] | None:
    """The name and the arguments; None for what is no call. `quote`: what stands around a text."""
    found = CALL.fullmatch(text)
    if found is None:
        return None
    reader = GemmaReader(found[2], quote)
    try:
        value = reader.read_value(0)
    except ValueError:
        return None
    return (found[1], value) if isinstance(value, dict) and reader.place == len(reader.text) else None


class GemmaReader:
    def __init__(self, text: str, quote: str) -> None:
        self.text, self.quote, self.place = text, quote, 0

    def take(self, token: str) -> bool:
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1
        if not self.text.startswith(token, self.place):
            return False
        self.place += len(token)
        return True

    def read_value(self, depth: int) -> Any:
        """Raises ValueError."""
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        if self.take("{"):
            return dict(self.read_items("}", depth, keyed=True))
        if self.take("["):
            return [value for _, value in self.read_items("]", depth, keyed=False)]
        if self.take(self.quote):
            return self.read_up_to(self.quote)
        return read_word(self.read_word())

    def read_items(self, end: str, depth: int, *, keyed: bool) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        while not self.take(end):
            if found and not self.take(","):
                raise ValueError("no comma")
            found.append((self.read_key() if keyed else "", self.read_value(depth + 1)))
        return found

    def read_key(self) -> str:
        key = self.read_up_to(self.quote) if self.take(self.quote) else self.read_word().strip('"')
        if not self.take(":"):
            raise ValueError("no colon")
        return key

    def read_up_to(self, mark: str) -> str:
        end = self.text.index(mark, self.place)
        found, self.place = self.text[self.place : end], end + len(mark)
        return found

    def read_word(self) -> str:
        start = self.place
        while self.place < len(self.text) and self.text[self.place] not in ",:{}[]":
            self.place += 1
        if self.place == start:
            raise ValueError("nothing there")
        return self.text[start : self.place].strip()


def read_word(word: str) -> Any:
    """A number, true, false, null, or a text without its marks."""
    if word.lower() in WORDS:
        return WORDS[word.lower()]
    if NUMBER.fullmatch(word):
        return float(word) if any(sign in word for sign in ".eE") else int(word)
    return word.strip('"')
