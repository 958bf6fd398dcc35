"""Null means "not given" in every optional field of every request, read off the served document."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.api.bodies import BODIES, VLM, address

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[..., Any]
NESTED = [
    ("/api/txt2img/", {"loras": [{"id": "riso", "weight": None}]}),
    ("/api/txt2img/", {"variation": {"seed": 1, "image": None, "strength": 0.5, "earlier": None}}),
    ("/api/img2img/", {"outpaint": {"left": None, "right": None, "top": None, "bottom": 8}}),
    ("/api/score/", {"variant": {"gradient": None, "font": None, "layout": None}}),
    ("/api/score/", {"event_data": {"title": None, "description": None}}),
    ("/api/score/", {"elements": [{"kind": None, "x": 1, "y": 1, "w": 9, "h": 9}]}),
    (
        "/v1/chat/completions",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": None, "strict": None}}},
    ),
]
"""Objects inside of a request."""


@cache
def document() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and schema of every request with a body. `/mcp` has JSON-RPC's, whose fields are not ours."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation and path != "/mcp":
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                yield path, method, document()["components"]["schemas"][reference.rpartition("/")[2]]


def optional_fields(schema: dict[str, Any]) -> list[str]:
    return [name for name in schema.get("properties", {}) if name not in schema.get("required", [])]


REQUESTS = list(requests())


def test_every_request_with_a_body_is_among_those_that_are_tested() -> None:
    assert {path for path, _, _ in REQUESTS} == set(BODIES)


@pytest.mark.parametrize(("path", "method", "schema"), REQUESTS, ids=[path for path, _, _ in REQUESTS])
def test_null_is_not_given(send: Send, settings: Any, path: str, method: str, schema: dict[str, Any]) -> None:
    settings.DEFAULT_CHAT_MODEL = VLM
    body, at = BODIES[path](), address(path)
    for field in optional_fields(schema):
        if field not in body:  # else it is one of two that exclude each other, and so not optional here
            reply = send(at, {**body, field: None}, method)
            assert reply.status_code in (200, 201, 202), (field, reply.content)


@pytest.mark.parametrize(("path", "fields"), NESTED)
def test_null_is_not_given_inside_of_objects(send: Send, path: str, fields: dict[str, Any]) -> None:
    reply = send(path, {**BODIES[path](), **fields})
    assert reply.status_code == 202, reply.content


@pytest.mark.parametrize(("path", "method", "schema"), REQUESTS, ids=[path for path, _, _ in REQUESTS])
def test_the_document_says_so(path: str, method: str, schema: dict[str, Any]) -> None:
    assert [name for name in optional_fields(schema) if not may_be_null(schema["properties"][name])] == []


def may_be_null(schema: dict[str, Any]) -> bool:
    options = schema.get("oneOf", []) + schema.get("anyOf", [])
    return (
        "null" in schema.get("type", [])
        or {"type": "null"} in options
        or any("Null" in each.get("$ref", "") for each in options)
    )


def test_null_takes_a_rating_back(client: Client, send: Send) -> None:
    """The one optional field to which null says something."""
    path = address("/api/images/{id}/")
    assert send(path, {"rating": 4}, "patch").json()["rating"] == 4
    assert send(path, {"rating": None}, "patch").json()["rating"] is None
    assert client.get(path).json()["rating"] is None


@pytest.mark.parametrize(
    ("path", "field"), [("/api/txt2img/", "prompt"), ("/api/img2img/", "image"), ("/api/clip-score/", "prompts")]
)
def test_a_required_field_is_not_null(send: Send, path: str, field: str) -> None:
    reply = send(path, {**BODIES[path](), field: None})
    assert reply.status_code == 400
    assert [(error["field"], error["code"]) for error in reply.json()["errors"]] == [(field, "null")]
