"""OpenAPI schemas of fields with more than one type. Validation is in messages.py and serializers.py."""

from api.chat.spec import LARGEST_BIAS, LONGEST_STOP, MOST_BIASES, MOST_MESSAGES, MOST_STOPS, MOST_TOOLS
from api.json_types import JsonObject

CACHE_CONTROL: JsonObject = {"cache_control": {"type": ["object", "null"], "description": "Taken, and not read."}}
TEXT_PART: JsonObject = {
    "type": "object",
    "required": ["type", "text"],
    "additionalProperties": False,
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}, **CACHE_CONTROL},
}
REFUSAL_PART: JsonObject = {
    "type": "object",
    "required": ["type", "refusal"],
    "additionalProperties": False,
    "description": "Of an assistant's message only.",
    "properties": {"type": {"const": "refusal"}, "refusal": {"type": "string"}},
}
IMAGE_PART: JsonObject = {
    "type": "object",
    "required": ["type", "image_url"],
    "additionalProperties": False,
    "description": "Of a user's or a tool's message only; up to 20 in a request.",
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
CALL: JsonObject = {
    "type": "object",
    "required": ["id", "function"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "required": ["name", "arguments"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "arguments": {"type": "string", "description": "JSON, as the model wrote it."},
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
                {"type": "array", "minItems": 1, "items": {"oneOf": [TEXT_PART, IMAGE_PART, REFUSAL_PART]}},
                {"type": "null", "description": "Of an assistant's message only."},
            ]
        },
        "name": {"type": ["string", "null"], "description": "Taken, and not read."},
        **CACHE_CONTROL,
        "refusal": {"type": ["string", "null"], "description": "Of an assistant's message without a content: what it said."},
        "reasoning_content": {"type": ["string", "null"], "description": "Taken, and not shown to the model, with a warning."},
        "tool_calls": {
            "type": ["array", "null"],
            "items": CALL,
            "description": "Of an assistant's message: the calls that it made.",
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
LOGIT_BIAS: JsonObject = {
    "type": "object",
    "maxProperties": MOST_BIASES,
    "additionalProperties": {"type": "number", "minimum": -LARGEST_BIAS, "maximum": LARGEST_BIAS},
    "description": "By token id, as a text: what is added to the token's logit. -100 forbids a token, 100 makes it nearly certain.",
}
FUNCTION_NAME: JsonObject = {
    "type": "object",
    "required": ["type", "function"],
    "properties": {
        "type": {"const": "function"},
        "function": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    },
}
TOOLS: JsonObject = {
    "type": "array",
    "maxItems": MOST_TOOLS,
    "description": "Functions that the model may call.",
    "items": {
        "type": "object",
        "required": ["type", "function"],
        "additionalProperties": False,
        "properties": {
            **CACHE_CONTROL,
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
                    "description": {"type": ["string", "null"], "maxLength": 10000},
                    "parameters": {
                        "type": ["object", "null"],
                        "description": "JSON Schema of the arguments. A call that is required, or of a strict function, fits it "
                        "to the letter; of others, keywords that can't be enforced are left out, with a warning.",
                    },
                    "strict": {"type": ["boolean", "null"]},
                },
            },
        },
    },
}
TOOL_CHOICE: JsonObject = {
    "description": "`auto`: the model decides; `none`: it calls none; `required`: it calls one or more; or the function that it calls, or "
    "those among which it chooses.",
    "oneOf": [
        {"type": "string", "enum": ["none", "auto", "required"]},
        FUNCTION_NAME,
        {
            "type": "object",
            "required": ["type", "allowed_tools"],
            "properties": {
                "type": {"const": "allowed_tools"},
                "allowed_tools": {
                    "type": "object",
                    "required": ["mode", "tools"],
                    "properties": {
                        "mode": {"type": "string", "enum": ["auto", "required"]},
                        "tools": {"type": "array", "items": FUNCTION_NAME},
                    },
                },
            },
        },
        {"type": "null"},
    ],
}
