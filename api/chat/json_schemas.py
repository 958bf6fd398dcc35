"""JSON schemas for structured output: validated at submission, enforced while sampling. No torch, no Django.

Whitespace is fixed (`{"a": 1, "b": 2}`), so that a model which doesn't know how to end can't write spaces for ever.
"""

import json
from typing import Any

from api.json_types import JsonObject

SPACING: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
ANY_OBJECT = {"type": "object"}


def grammar_of(schema: JsonObject) -> str:
    """llguidance's grammar of a schema; {} stands for any JSON object."""
    from llguidance import LLMatcher  # a few megabytes that most web processes never need

    return LLMatcher.grammar_from_json_schema(json.dumps(schema or ANY_OBJECT), overrides=SPACING)


def schema_fault(schema: JsonObject) -> str:
    """Why a schema can't be enforced, in one line; '' if it can. Unsupported keywords are errors."""
    from llguidance import LLMatcher

    try:
        return " ".join(LLMatcher.validate_grammar(grammar_of(schema)).split())[:300]
    except ValueError as error:
        return " ".join(str(error).split())[:300]
