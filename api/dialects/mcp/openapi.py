"""/mcp in the OpenAPI document: a hook of drf-spectacular's, since it is no view of DRF. The protocol has its own specification."""

from typing import Any

from api.system.openapi_generator import REFUSALS, KeyScheme
from api.system.openapi_operations import examples_of, summary_of, tag_of

PATH = "/mcp"
MESSAGE = "JsonRpcMessage"
SCHEMA = {
    "type": "object",
    "description": "One message of JSON-RPC 2.0, as the Model Context Protocol has it.",
    "required": ["jsonrpc"],
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["string", "integer", "null"]},
        "method": {"type": "string"},
        "params": {"type": "object", "additionalProperties": True},
        "result": {"type": "object", "additionalProperties": True},
        "error": {"type": "object", "additionalProperties": True},
    },
}
DESCRIPTION = (
    "The Model Context Protocol over streamable HTTP, for assistants. Tools: make_picture, edit_picture, look_at_picture, judge_layout, "
    "find_in_history; resources: `darkroom://images/ID`. A request is answered by one JSON object; with a `progressToken`, or where the "
    "answer is long in coming, by an event stream, whose last event is the response; a notification by 202. No session is kept: "
    "GET and DELETE are 405. Send `Accept: application/json, text/event-stream`."
)
REFUSED = (400, 401, 403, 404, 405, 406, 411, 413, 500, 503)
OWN_WORDS = {405: "Only POST.", 406: "The client does not accept both JSON and event streams."}


def add_mcp(result: dict[str, Any], generator: object, **kwargs: object) -> dict[str, Any]:
    message = {"application/json": {"schema": {"$ref": f"#/components/schemas/{MESSAGE}"}}}
    examples = {str(one.name): {"value": one.value} for one in examples_of("POST", PATH)}
    refused = {
        str(status): {"description": OWN_WORDS.get(status) or REFUSALS[status], "content": message} for status in REFUSED
    }
    result["components"].setdefault("schemas", {})[MESSAGE] = SCHEMA
    result["paths"][PATH] = {
        "post": {
            "operationId": "mcp",
            "summary": summary_of("POST", PATH, ""),
            "description": DESCRIPTION,
            "tags": [tag_of("POST", PATH)],
            "security": [{KeyScheme.name: []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {**message["application/json"], "examples": examples}},
            },
            "responses": {
                "200": {
                    "description": "The response; in an event stream behind notifications of its progress.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}, **message},
                },
                "202": {"description": "A notification was taken."},
                **refused,
            },
        }
    }
    return result
