"""What of a JSON schema can be enforced while sampling: what llguidance compiles. It says itself which keywords it does not.

Its messages have no places, so these are looked up here: in the parts of a schema that are schemas, not in names of properties.
"""

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from api.chat.json_schemas import (
    ANY_OBJECT,
    ENDLESS,
    MOST_LEVELS,
    SPACING,
    TOO_MANY_LEVELS,
    has_too_many_levels,
    never_ends,
    prepared,
)
from api.json_types import JsonObject

UNIMPLEMENTED, NO_ONE_OF = "Unimplemented keys: ", "oneOf constraints are not supported"
FORMAT, PATTERN, PATTERNS, ONE_OF = "format", "pattern", "patternProperties", "oneOf"
LISTS = ("anyOf", ONE_OF, "allOf", "prefixItems", "items")
NAMED = ("properties", "$defs", "definitions", PATTERNS, "dependentSchemas")
ALONE = (
    *("items", "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems"),
    *("not", "if", "then", "else", "contains", "propertyNames"),
)
IDLE = {"uniqueItems": False, "unevaluatedProperties": True, "unevaluatedItems": True}
"""Values that ask for nothing."""
MOST_ROUNDS = 40
"""Each finds one keyword or more: there are fewer that llguidance lacks."""
MOST_TRIED = 200
"""Patterns and oneOfs that are tried alone where one is at fault. Those beyond count as what can't be enforced."""
SHORT = 4_000
"""Characters of a schema."""
STANDARD_FORMATS = (
    *("idn-email", "idn-hostname", "uri-reference", "iri", "iri-reference", "uri-template"),
    *("json-pointer", "relative-json-pointer", "regex"),
)
"""JSON Schema's own that llguidance lacks. Others (Pydantic's `password`, `binary` …) are remarks by JSON Schema's rule, no constraints."""


@dataclass(frozen=True)
class Enforceable:
    """`schema`: as it is followed. `ignored`: paths of the keywords that it lacks. `fault`: why not even that can be followed."""

    schema: JsonObject
    ignored: tuple[str, ...] = ()
    fault: str = ""

    def strict_fault(self) -> str:
        """Why it can't be followed to the letter; '' where it can."""
        if self.fault or not self.ignored:
            return self.fault
        place, _, keyword = self.ignored[0].rpartition(".")
        where = f" at {place}" if place else ""
        return f"'{keyword}'{where} can't be enforced here. Without strict: true it has no effect, and a warning says so."


def grammar_of(schema: JsonObject) -> str:
    """llguidance's grammar of a schema; {} stands for any JSON object."""
    return compiled(enforceable(schema).schema)


def compiled(schema: Any) -> str:
    from llguidance import LLMatcher  # a few megabytes that most web processes never need

    return LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=SPACING)


def schema_text(schema: JsonObject) -> str:
    """As `%json` of a grammar has it: with the spaces that all JSON under a schema has here."""
    return json.dumps({**enforceable(schema).schema, "x-guidance": SPACING})


def enforceable(schema: JsonObject) -> Enforceable:
    if never_ends(schema):
        return Enforceable(schema, fault=ENDLESS)
    if has_too_many_levels(schema):
        return Enforceable(schema, fault=TOO_MANY_LEVELS.format(MOST_LEVELS))
    text = json.dumps(schema or ANY_OBJECT)
    return short_ones(text) if len(text) <= SHORT else long_ones(text)


def work_out(text: str) -> Enforceable:
    schema: Any = prepared(json.loads(text))
    _, ignored = rebuilt(json.loads(text), standard_format)
    for _ in range(MOST_ROUNDS):
        if not (fault := fault_of(schema)):
            break
        rest, found = without(schema, fault)
        if rest == schema:
            break
        schema, ignored = rest, [*ignored, *found]
    return Enforceable(schema, tuple(dict.fromkeys(ignored)), fault)


def fault_of(schema: Any) -> str:
    """In llguidance's words; '' where it compiles."""
    from llguidance import LLMatcher

    try:
        return " ".join(LLMatcher.validate_grammar(compiled(schema)).split())[:300]
    except (ValueError, RecursionError) as error:
        return " ".join(str(error).split())[:300]


short_ones, long_ones = lru_cache(maxsize=512)(work_out), lru_cache(maxsize=8)(work_out)
"""Of one request it is asked for several times; and most clients send the same tools again and again."""


# ---------------------------------------------------------------- what is left out


Change = Callable[[JsonObject], tuple[JsonObject, Collection[str]]]
"""Of one part of a schema: what becomes of it, and the names of what it loses."""


def without(schema: Any, fault: str) -> tuple[Any, list[str]]:
    """The schema without what `fault` is about, and the paths of that."""
    if UNIMPLEMENTED in fault:
        names = re.findall(r'"([^"]+)"', fault.partition(UNIMPLEMENTED)[2])
        return rebuilt(schema, lambda part: without_keywords(part, names))
    if NO_ONE_OF in fault:
        found, lost = rebuilt(schema, OneOfsTried(schema))
        return (found, lost) if lost else rebuilt(schema, as_any_of)
    return rebuilt(schema, PatternsTried())


def without_keywords(part: JsonObject, names: Collection[str]) -> tuple[JsonObject, list[str]]:
    rest, lost = dropped(part, names)
    return rest, [key for key in lost if part[key] != IDLE.get(key)]


def dropped(part: JsonObject, names: Collection[str]) -> tuple[JsonObject, list[str]]:
    return {key: value for key, value in part.items() if key not in names}, [key for key in part if key in names]


def standard_format(part: JsonObject) -> tuple[JsonObject, list[str]]:
    return dropped(part, [FORMAT]) if part.get(FORMAT) in STANDARD_FORMATS else (part, [])


def as_any_of(part: JsonObject) -> tuple[JsonObject, list[str]]:
    """One of several, or more of them, where exactly one was wanted."""
    if ONE_OF not in part:
        return part, []
    rest, lost = dropped(part, [ONE_OF])
    both = [*(rest.get("allOf") or ()), {"anyOf": part[ONE_OF]}]  # type: ignore[misc]  # a list, or it would be refused
    return {**rest, "allOf": both}, lost


class OneOfsTried:
    """Those alone that llguidance can't tell apart, each without those that are in it."""

    def __init__(self, schema: JsonObject) -> None:
        whole = rebuilt(schema, as_any_of)[0]
        self.named: dict[str, Any] = {key: whole[key] for key in ("$defs", "definitions") if key in whole}
        self.tried = 0

    def __call__(self, part: JsonObject) -> tuple[JsonObject, Collection[str]]:
        several = part.get(ONE_OF)
        if not isinstance(several, list):
            return part, []
        self.tried += 1
        single: dict[str, Any] = {**self.named, ONE_OF: [rebuilt(one, as_any_of)[0] for one in several]}
        is_at_fault = self.tried > MOST_TRIED or NO_ONE_OF in fault_of(single)
        return as_any_of(part) if is_at_fault else (part, [])


class PatternsTried:
    """Patterns that others read and llguidance does not: look-arounds and back-references. What is no pattern at all stays a fault."""

    def __init__(self) -> None:
        self.tried: dict[str, bool] = {}

    def __call__(self, part: JsonObject) -> tuple[JsonObject, Collection[str]]:
        pattern, several = part.get(PATTERN), part.get(PATTERNS)
        found, lost = dropped(part, [PATTERN]) if isinstance(pattern, str) and self.is_unknown(pattern) else (part, [])
        unknown = [one for one in several if self.is_unknown(one)] if isinstance(several, dict) else []
        if unknown:
            found = {**found, PATTERNS: dropped(several, unknown)[0]}  # type: ignore[arg-type]
        return found, [*lost, *(f"{PATTERNS}.{one}" for one in unknown)]

    def is_unknown(self, pattern: str) -> bool:
        if pattern not in self.tried:
            single = {"type": "string", PATTERN: pattern}
            self.tried[pattern] = is_pattern(pattern) and (len(self.tried) >= MOST_TRIED or fault_of(single) != "")
        return self.tried[pattern]


def is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def rebuilt(schema: Any, change: Change) -> tuple[Any, list[str]]:
    """A schema of which every part was changed, and the paths of what they lost."""
    lost: list[str] = []
    return rebuilt_part(schema, change, "", lost), lost


def rebuilt_part(part: Any, change: Change, path: str, lost: list[str]) -> Any:
    if not isinstance(part, dict):
        return part
    found, names = change(part)
    lost += [f"{path}{name}" for name in names]
    return {key: rebuilt_value(key, value, change, f"{path}{key}.", lost) for key, value in found.items()}


def rebuilt_value(key: str, value: Any, change: Change, path: str, lost: list[str]) -> Any:
    if isinstance(value, list) and key in LISTS:
        return [rebuilt_part(one, change, f"{path}{number}.", lost) for number, one in enumerate(value)]
    if isinstance(value, dict) and key in NAMED:
        return {name: rebuilt_part(one, change, f"{path}{name}.", lost) for name, one in value.items()}
    return rebuilt_part(value, change, path, lost) if key in ALONE else value
