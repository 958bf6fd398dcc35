"""JSON as clients send it. What can't be stored or answered later is refused here, once, for bodies and for JSON in forms alike."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from api.json_types import JsonObject

DEEPEST = 100
"""Levels of nesting: whatever walks a value later may recurse."""
LONGEST_INTEGER = 4000
"""Digits. Python refuses to read those of more than 4,300; the fields say what each of them takes."""

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidJson(ValueError):
    """`detail` is a sentence for people, `field` the path to what is at fault ('' where it is the text itself)."""

    def __init__(self, detail: str, code: str = "parse_error", field: str = "") -> None:
        super().__init__(detail)
        self.detail, self.code, self.field = detail, code, field


def read_json(text: str | bytes) -> object:
    """Raises InvalidJson: also for duplicate keys, NaN and Infinity, numbers no float can hold, deep nesting, NUL and lone surrogates."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=Constant, parse_int=read_integer)
    except UnicodeDecodeError:
        raise InvalidJson("The text is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"This is not JSON: {error.msg}, line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise too_deep() from None
    check_values(value, ())
    return value


def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = set()
    for name, _ in pairs:
        if name in names:
            raise InvalidJson(f"The key '{name}' is given more than once in one object.", "duplicate_key", name)
        names.add(name)
    raise AssertionError("unreachable: fewer keys than pairs, and none is repeated")


class Constant(float):
    """NaN, Infinity or -Infinity, which are no JSON: kept until it is known where in the text it stands."""

    def __new__(cls, name: str) -> "Constant":
        constant = super().__new__(cls, name)
        constant.name = name
        return constant

    name: str


def read_integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise InvalidJson(f"A number of {len(text)} digits is too large.")
    return int(text)


def too_deep() -> InvalidJson:
    return InvalidJson(f"The JSON is nested too deeply; {DEEPEST} levels are the limit.")


def check_values(value: object, path: tuple[str | int, ...]) -> None:
    """Depth first, so that the memory needed is bounded by DEEPEST."""
    if isinstance(value, str):
        check_text(value, path)
    elif isinstance(value, Constant):
        raise InvalidJson(f"{value.name} is not JSON.", "not_json", path_text(path))
    elif isinstance(value, float):
        if math.isinf(value):  # as Python reads 1e999
            raise InvalidJson("The number is too large.", "too_large", path_text(path))
    elif isinstance(value, dict | list):
        if len(path) >= DEEPEST:
            raise too_deep()
        entries: Iterable[tuple[str | int, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in entries:
            inside = (*path, key)
            if isinstance(key, str):
                check_text(key, inside)
            if isinstance(item, str | dict | list | float):
                check_values(item, inside)


def check_text(text: str, path: tuple[str | int, ...]) -> None:
    """What PostgreSQL's text and UTF-8 can't hold."""
    if "\x00" in text:
        raise InvalidJson("Null characters (NUL) are not allowed.", "null_characters_not_allowed", path_text(path))
    if not text.isascii() and LONE_SURROGATE.search(text):
        raise InvalidJson("Half of a surrogate pair is not a character.", "lone_surrogate", path_text(path))


def path_text(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


# ---------------------------------------------------------------- what others write


def without_unkept(text: str) -> str:
    """Without NUL, and with U+FFFD for half of a surrogate pair: what other programs answered can't be refused as a client's text is."""
    text = text.replace("\x00", "")
    if text.isascii() or not LONE_SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TextPieces:
    """A text that another program sends in pieces, which may end within a character: half of a pair waits for its other half."""

    def __init__(self) -> None:
        self.half = ""

    def push(self, piece: str) -> str:
        text = self.half + piece
        self.half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return without_unkept(text.removesuffix(self.half) if self.half else text)
