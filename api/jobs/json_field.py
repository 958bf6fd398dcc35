"""JSON that workers write: what models, other servers and capabilities of others gave them, kept so that it can be read and sent again."""

import json
import re
from typing import Any

from django.db import models

SUSPICIOUS = re.compile(r"\\u(?:0000|d[89a-f])")
ESCAPES = re.compile(r"\\u0000|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\ud[89a-f][0-9a-f]{2}|\\.")
REPLACEMENT = "\\ufffd"


class KeptEncoder(json.JSONEncoder):
    """Without NUL, which PostgreSQL refuses; with U+FFFD for half of a surrogate pair, which no answer could carry: of one such job
    every page of the history that shows it would be an error.
    """

    def encode(self, o: object) -> str:
        return kept_text(super().encode(o))


def kept_text(text: str) -> str:
    return ESCAPES.sub(kept, text) if SUSPICIOUS.search(text) else text


def kept(escape: re.Match[str]) -> str:
    text = escape[0]
    if text == "\\u0000":
        return ""
    return text if escape[1] or not text.startswith("\\ud") else REPLACEMENT


class KeptJSONField(models.JSONField):
    """In migrations it is Django's: the tables are the same."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "encoder": KeptEncoder})

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """SQLite's rows of earlier versions may have what is not kept any more."""
        return super().from_db_value(kept_text(value) if isinstance(value, str) else value, expression, connection)

    def deconstruct(self) -> Any:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.JSONField", args, {key: value for key, value in options.items() if key != "encoder"}
