"""How a schema is followed: which formats count, and that objects have no properties that nobody named."""

import json
from typing import Any

import pytest

from api.chat.json_schemas import closing_length, prepared
from api.chat.schema_keywords import enforceable

OPEN: Any = {"type": "object", "properties": {"a": {"type": "integer"}}}
CLOSED = {**OPEN, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "followed"),
    [
        ({"$defs": {"A": OPEN}, "$ref": "#/$defs/A"}, {"$defs": {"A": CLOSED}, "$ref": "#/$defs/A"}),
        ({"items": {"anyOf": [OPEN, {"type": "null"}]}}, {"items": {"anyOf": [CLOSED, {"type": "null"}]}}),
        ({"type": "object", "properties": {"format": {"type": "string", "format": "password"}}, "required": []},
         {"type": "object", "properties": {"format": {"type": "string"}}, "required": [], "additionalProperties": False}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"const": OPEN}, {"const": OPEN}),
    ],
)  # fmt: skip
def test_what_is_followed(schema: dict[str, Any], followed: dict[str, Any]) -> None:
    assert prepared(schema) == followed
    assert enforceable(schema).strict_fault() == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {**OPEN, "additionalProperties": True},
        {**OPEN, "required": ["b"]},
        {**OPEN, "required": 5},
        {**OPEN, "required": [[]]},
        {**OPEN, "patternProperties": {"^x": {"type": "integer"}}},
        {"allOf": [OPEN, {"type": "object", "properties": {"b": {}}, "required": ["b"]}]},
        {**OPEN, "anyOf": [{"properties": {"b": {}}, "required": ["b"]}, {"properties": {"c": {}}, "required": ["c"]}]},
        {"$defs": {"A": OPEN}, "$ref": "#/$defs/A", "properties": {"b": {}}},
    ],
    ids=json.dumps,
)
def test_what_may_have_more_stays_open(schema: dict[str, Any]) -> None:
    assert prepared(schema) == schema


LOOKING, BACK = "^(?!x)a.*$", r"(a|b)\1"
PARTLY: list[tuple[Any, Any, list[str]]] = [
    ({"type": "array", "uniqueItems": True, "maxItems": 3}, {"type": "array", "maxItems": 3}, ["uniqueItems"]),
    ({"type": "string", "not": {"const": "x"}}, {"type": "string"}, ["not"]),
    ({"type": "string", "pattern": LOOKING}, {"type": "string"}, ["pattern"]),
    ({"type": "string", "pattern": BACK, "maxLength": 2}, {"type": "string", "maxLength": 2}, ["pattern"]),
    ({"type": "string", "format": "uri-reference"}, {"type": "string"}, ["format"]),
    ({"type": "array", "contains": {"type": "integer"}, "minContains": 1}, {"type": "array"}, ["contains", "minContains"]),
    ({"dependentRequired": {"a": ["b"]}}, {}, ["dependentRequired"]),
    ({"propertyNames": {"pattern": "^a"}, "if": {}, "then": {"required": ["b"]}}, {}, ["propertyNames", "if", "then"]),
    ({"unevaluatedProperties": False}, {}, ["unevaluatedProperties"]),
    ({"patternProperties": {LOOKING: {}, "^b": {}}}, {"patternProperties": {"^b": {}}}, [f"patternProperties.{LOOKING}"]),
    ({"oneOf": [{"type": "string"}, {"maxLength": 3}]}, {"allOf": [{"anyOf": [{"type": "string"}, {"maxLength": 3}]}]}, ["oneOf"]),
    ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"oneOf": [{"type": "string"}, {"type": "integer"}]}, []),
    ({"type": "array", "uniqueItems": False}, {"type": "array"}, []),
    ({"type": "string", "format": "password"}, {"type": "string"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "followed", "ignored"), PARTLY, ids=lambda value: json.dumps(value)[:50])
def test_what_can_not_be_enforced_is_named_and_the_rest_is_followed(schema: Any, followed: Any, ignored: list[str]) -> None:
    """Also deep in a schema, beside a property that is called like a keyword."""
    assert (enforceable(schema).schema, enforceable(schema).fault) == (followed, "")
    assert sorted(enforceable(schema).ignored) == sorted(ignored)
    nested: Any = {"type": "object", "properties": {"not": {"type": "array", "items": schema}}, "required": ["not"]}
    found = enforceable(nested)
    assert sorted(found.ignored) == sorted(f"properties.not.items.{path}" for path in ignored)
    assert found.schema["properties"]["not"]["items"] == followed  # type: ignore[index, call-overload]
    assert bool(found.strict_fault()) == bool(ignored)


def test_of_several_choices_only_those_that_overlap_count_as_any_of() -> None:
    apart = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    found = enforceable({"properties": {"a": {"oneOf": [{"type": "string"}, {"minLength": 1}]}, "b": apart}})
    assert found.ignored == ("properties.a.oneOf",)
    assert found.schema["properties"]["b"] == apart  # type: ignore[index, call-overload]


@pytest.mark.parametrize("schema", [{"pattern": "("}, {"type": "strin"}, {"$ref": "#/nowhere"}, {"items": {"minLength": "x"}}])
def test_what_is_no_schema_is_refused_strict_or_not(schema: Any) -> None:
    found = enforceable({"type": "object", "properties": {"a": {**schema, "uniqueItems": True}}})
    assert found.fault
    assert found.strict_fault() == found.fault


def test_definitions_that_go_on_from_each_other_too_often_are_refused() -> None:
    """They overflow the stack of what compiles them, which ends the process."""

    def chain(length: int) -> Any:
        one = {f"d{number}": {"properties": {"a": {"$ref": f"#/$defs/d{(number + 1) % length}"}}} for number in range(length)}
        return {"$defs": one, "$ref": "#/$defs/d0"}

    assert enforceable(chain(100)).fault == ""
    assert "more than 600 levels" in enforceable(chain(1500)).fault


def test_what_branches_without_an_end_is_measured_all_the_same() -> None:
    branching = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 50 + [{"type": "string"}]}}, "$ref": "#/$defs/a"}
    lists: Any = {"type": "string"}
    for _ in range(12):
        lists = {"type": "array", "minItems": 12, "items": lists}
    assert 0 < closing_length(branching) < closing_length(lists) <= 4000
