"""JSON schemas that an answer must fit: checked when they are sent, followed while the answer is written. No torch, no Django.

Whitespace is fixed (`{"a": 1, "b": 2}`), so that a model which doesn't know how to end can't write spaces for ever.
"""

import json
from typing import Any

SPACING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
ANY_OBJECT = {"type": "object"}


def grammar_of(schema: dict[str, Any]) -> str:
    """llguidance's grammar of a schema; {} stands for any JSON object."""
    from llguidance import LLMatcher  # a few megabytes that most web processes never need

    return LLMatcher.grammar_from_json_schema(json.dumps(schema or ANY_OBJECT), overrides=SPACING)


def schema_fault(schema: dict[str, Any]) -> str:
    """Why a schema can't be followed, in one line; '' where it can. What llguidance doesn't know is a fault, never ignored."""
    from llguidance import LLMatcher

    try:
        return " ".join(LLMatcher.validate_grammar(grammar_of(schema)).split())[:300]
    except ValueError as error:
        return " ".join(str(error).split())[:300]
