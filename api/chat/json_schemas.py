"""JSON schemas for structured output: how they are read before they are enforced (schema_keywords). No torch, no Django.

Whitespace is fixed (`{"a": 1, "b": 2}`), so that a model which doesn't know how to end can't write spaces for ever.
"""

import json
from collections.abc import Iterator
from typing import Any

from api.json_types import JsonObject

SPACING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
ANY_OBJECT: JsonObject = {"type": "object"}


PARTS = ("anyOf", "oneOf", "allOf", "items", "prefixItems", "additionalProperties")
NAMED_PARTS = ("properties", "$defs", "definitions", "patternProperties")
COMBINING = (
    *("additionalProperties", "patternProperties", "unevaluatedProperties", "dependentSchemas"),
    *("allOf", "anyOf", "oneOf", "$ref", "if", "not"),
)
"""Keywords beside which an object's `properties` may not be all that it has."""


FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "unknown")
"""Those that llguidance knows. Others say nothing of what a text may be (JSON Schema's own rule): Pydantic has `password`, `binary` …"""


def prepared(schema: JsonObject) -> JsonObject:
    """As it is followed: without formats that nobody knows, and with objects that have the properties that they name, and no others where
    nothing is said of those: a small model would make some up, which a client's function doesn't take. Not where a part of the schema may
    be added to by another.
    """
    found: JsonObject = prepare(schema, closes=not is_combined(schema))
    return found


def is_combined(schema: Any) -> bool:
    """Whether the properties of an object stand in several parts of the schema, of which none may exclude the others'."""
    if isinstance(schema, list):
        return any(map(is_combined, schema))
    if not isinstance(schema, dict):
        return False
    here = "allOf" in schema or (
        "properties" in schema and any(key in schema for key in ("anyOf", "oneOf", "$ref", "if", "not"))
    )
    return here or any(map(is_combined, schema.values()))


def prepare(schema: Any, *, closes: bool) -> Any:
    if isinstance(schema, list):
        return [prepare(one, closes=closes) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key != "format" or value in FORMATS}
    found |= {key: prepare(found[key], closes=closes) for key in PARTS if key in found}
    for key in NAMED_PARTS:
        if isinstance(found.get(key), dict):
            found[key] = {name: prepare(one, closes=closes) for name, one in found[key].items()}
    return {**found, "additionalProperties": False} if closes and names_all(schema) else found


def names_all(schema: dict[str, Any]) -> bool:
    """Whether an object's schema says nothing of properties that it doesn't name."""
    names, required = schema.get("properties"), schema.get("required") or []
    if not isinstance(names, dict) or not isinstance(required, list) or any(key in schema for key in COMBINING):
        return False
    return all(isinstance(name, str) and name in names for name in required)


ENDLESS = "It refers to itself without an end, so that no JSON fits it."
MOST_LOOKS = 10_000


def never_ends(schema: Any) -> bool:
    """Whether a value would have to hold itself, as of {"$ref": "#"}; False where that takes too long to tell."""
    looks = 0

    def ends(part: Any, within: frozenset[str]) -> bool:
        nonlocal looks
        looks += 1
        if not isinstance(part, dict) or looks > MOST_LOOKS:
            return True
        if isinstance(reference := part.get("$ref"), str):
            return reference not in within and ends(find_definition(schema, reference), within | {reference})
        is_object, is_list = (
            part.get("type") == "object",
            part.get("type") == "array",
        )  # what may be another type can end as that
        needed = [(part.get("properties") or {}).get(name) for name in part.get("required") or ()] if is_object else []
        needed += [part.get("items")] if is_list and part.get("minItems") else []
        choices = [part[key] for key in ("anyOf", "oneOf") if part.get(key)]
        return all(ends(one, within) for one in [*needed, *(part.get("allOf") or ())]) and all(
            any(ends(one, within) for one in several) for several in choices
        )

    try:
        return not ends(schema, frozenset())
    except (RecursionError, TypeError, AttributeError):  # what is no schema is refused by name elsewhere
        return False


TOO_MANY_LEVELS = "Its definitions, one inside another, have more than {} levels."
MOST_LEVELS = 600
"""A schema that goes 1,500 levels deep, by references, overflows the stack of the library that compiles it, which ends the process."""


def has_too_many_levels(schema: Any) -> bool:
    """Counted as if every definition that is referred to went on from every other: some may."""
    references = {reference for part in walk(schema) if isinstance(reference := part.get("$ref"), str)}
    if len(references) > MOST_LEVELS:
        return True
    found = [find_definition(schema, reference) for reference in references]
    apart = {id(one): levels_of(one) for one in {id(one): one for one in found}.values()}
    return sum(1 + apart[id(one)] for one in found) + levels_of(schema) > MOST_LEVELS


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a value, itself included."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
        if isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one


def levels_of(value: Any) -> int:
    """Objects in one another."""
    if not isinstance(value, dict | list):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return isinstance(value, dict) + max(map(levels_of, inside), default=0)


MOST_RESERVED, DEEPEST = 4_000, 12
CONTAINERS = 8
"""Characters of a name's or a list's marks: quotes, colon, comma, spaces, brackets."""


def closing_length(schema: Any) -> int:
    """Characters that are enough to close an answer under a schema, wherever it is: every property once, as short as it can be."""
    known: dict[tuple[str, int], int] = {}

    def of_definition(reference: str, depth: int) -> int:
        """Once at each depth: one that refers to itself in ten places would be looked at without an end."""
        if (reference, depth) not in known:
            known[reference, depth] = of(find_definition(schema, reference), depth)
        return known[reference, depth]

    def of(part: Any, depth: int) -> int:
        if not isinstance(part, dict) or depth > DEEPEST:
            return CONTAINERS
        if isinstance(reference := part.get("$ref"), str):
            return of_definition(reference, depth + 1)
        found = max((of(one, depth + 1) for key in ("anyOf", "oneOf", "allOf") for one in part.get(key) or ()), default=0)
        found += max((len(json.dumps(one)) for one in part.get("enum") or [part.get("const")]), default=0)
        for name, one in (part.get("properties") or {}).items():
            found += len(name) + CONTAINERS + of(one, depth + 1)
        found += sum(CONTAINERS + of(one, depth + 1) for one in (part.get("prefixItems") or ())[:DEEPEST])
        if "items" in part:
            found += min(DEEPEST, max(1, part.get("minItems") or 0)) * (CONTAINERS + of(part["items"], depth + 1))
        return min(MOST_RESERVED, found + CONTAINERS + min(part.get("minLength") or 0, MOST_RESERVED))

    return of(schema, 0)


def find_definition(root: Any, reference: str) -> Any:
    """Of `#/$defs/name`; None where it is elsewhere."""
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) and part else found
    return found
