"""How a schema is followed: which formats count, and that objects have no properties that nobody named."""

import json
from typing import Any

import pytest

from api.chat.json_schemas import prepared, schema_fault

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
    assert schema_fault(schema) == ""


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
