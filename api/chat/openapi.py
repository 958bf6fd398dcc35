"""OpenAPI schemas of fields with more than one type. Validation is in messages.py and serializers.py."""

from api.chat.spec import LONGEST_STOP, MOST_MESSAGES, MOST_STOPS
from api.json_types import JsonObject

CACHE_CONTROL: JsonObject = {"cache_control": {"type": ["object", "null"], "description": "Taken, and not read."}}
TEXT_PART: JsonObject = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}, **CACHE_CONTROL},
}
IMAGE_PART: JsonObject = {
    "type": "object",
    "required": ["type", "image_url"],
    "additionalProperties": False,
    "description": "Of a user's message only; up to 20 in a request.",
    "properties": {
        **CACHE_CONTROL,
        "type": {"const": "image_url"},
        "image_url": {
            "type": "object",
            "required": ["url"],
            "additionalProperties": False,
            "properties": {
                "url": {
                    "type": "string",
                    "description": "`data:image/png;base64,…` (or jpeg, webp), or base64 alone; "
                    "`darkroom://images/{id}` for a picture that is here; "
                    "an http(s) URL where the server allows those.",
                },
                "detail": {
                    "type": "string",
                    "enum": ["auto", "low", "high"],
                    "description": "How closely it is looked at: `low` and `auto` are one tile, `high` is as many as the model takes.",
                },
            },
        },
    },
}
MESSAGE: JsonObject = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "items": {"oneOf": [TEXT_PART, IMAGE_PART]}},
                {"type": "null", "description": "Of an assistant's message only."},
            ]
        },
        "name": {"type": ["string", "null"], "description": "Taken, and not read."},
        "tool_calls": {
            "type": ["array", "null"],
            "items": {"type": "object"},
            "description": "Of an assistant's message: calls that another model made; the model is told of them as text.",
        },
        "tool_call_id": {"type": ["string", "null"], "description": "Of a tool's message: the call that it answers."},
    },
}
MESSAGES: JsonObject = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_MESSAGES,
    "items": MESSAGE,
    "examples": [[{"role": "user", "content": "What is a darkroom?"}]],
}
STOP: JsonObject = {
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP},
        {"type": "array", "maxItems": MOST_STOPS, "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP}},
        {"type": "null"},
    ],
    "description": "The answer ends before the first of these that it would have.",
}
