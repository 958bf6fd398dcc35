"""Errors outside of a tool call: JSON-RPC's object, with the status of HTTP beside it."""

import json
from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import APIException

from api.json_types import JsonObject
from api.problems import Problem, error_headers, problem_body, refusal_body

PREFIX = "/mcp"
PARSE_ERROR, INVALID_PARAMS, REFUSED = -32700, -32602, -32000
CODES = {400: -32600, 500: -32603}
"""JSON-RPC's own codes by HTTP's status; any other is REFUSED, of the range that is left to servers."""


def render_error(problem: Problem) -> JsonObject:
    """`data` is the problem as the rest of the API tells it. The id is null: what asked was not read."""
    return envelope(CODES.get(problem["status"], REFUSED), problem)


def envelope(code: int, problem: Problem) -> JsonObject:
    data: Any = {name: value for name, value in problem.items() if name in ("status", "code", "errors") and value}
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": problem["detail"], "data": data}}


def refusal(error: APIException) -> HttpResponse:
    return respond(refusal_body(error), headers=error_headers(error))


def unreadable(detail: str, code: str, field: str) -> HttpResponse:
    """A body that is no JSON as this server reads it, or a value in it that can't be stored."""
    named = [{"field": field, "code": code, "detail": detail}] if field else []
    problem = problem_body(400, code, f"{field}: {detail}" if field else detail, named)  # type: ignore[arg-type]
    return respond(problem, INVALID_PARAMS if field else PARSE_ERROR)


def respond(problem: Problem, code: int | None = None, headers: dict[str, str] | None = None) -> HttpResponse:
    body = render_error(problem) if code is None else envelope(code, problem)
    return HttpResponse(json.dumps(body), status=problem["status"], content_type="application/json", headers=headers)
