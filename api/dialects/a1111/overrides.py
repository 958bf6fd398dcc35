"""The options that act on one request: those that the key has set, and `override_settings` before them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from api.access.principals import Principal
from api.catalog import LONGEST_NAME, ModelEntry
from api.dialects.a1111 import options
from api.dialects.a1111.checkpoints import find_checkpoint
from api.dialects.a1111.errors import RequestRefused
from api.dialects.a1111.option_table import CHECKPOINT, CHECKPOINT_HASH, CLIP_SKIP, FORMAT, FORMAT_NAMES, HONOURED
from api.images.serializers import find_default
from api.json_types import JsonObject
from api.problems import field_errors

FIELD = "override_settings"
MOST_SHOWN = 20


@dataclass
class Overrides:
    entry: ModelEntry
    request: JsonObject
    warnings: list[str] = field(default_factory=list)


def read_overrides(principal: Principal, sent: Mapping[str, Any]) -> Overrides:
    """Raises RequestRefused for what is asked of generation and can't be; other options that can't be set are a sentence."""
    values, warnings = read_sent({name: value for name, value in sent.items() if value is not None and value != ""})
    both = {**options.values_of(principal), **values}
    entry = find_model(both.get(CHECKPOINT), is_sent=CHECKPOINT in values)
    request: JsonObject = {"model_id": entry.id, "output_format": FORMAT_NAMES[both[FORMAT]]}
    if both[CLIP_SKIP] > 1:
        request["clip_skip"] = int(both[CLIP_SKIP]) - 1  # theirs counts the last layer as one
    return Overrides(entry, request, warnings)


def read_sent(sent: Mapping[str, Any]) -> tuple[JsonObject, list[str]]:
    values: JsonObject = {}
    warnings = []
    for name, value in sent.items():
        if name == CHECKPOINT_HASH:
            continue
        try:
            values |= options.read({name: value})
        except ValidationError as error:
            if name == CHECKPOINT or name in HONOURED:
                raise refused(name, error) from None
            warnings.append(f"{FIELD}.{name[:LONGEST_NAME]} has no effect: {first_of(error)}")
    return values, warnings[:MOST_SHOWN]


def find_model(name: Any, *, is_sent: bool) -> ModelEntry:
    try:
        return find_checkpoint(name) if name else find_default(None)
    except ValidationError as error:
        raise refused(CHECKPOINT, error, FIELD if is_sent else "options") from None


def refused(name: str, error: ValidationError, place: str = FIELD) -> RequestRefused:
    first = next(iter(field_errors(error.detail)))
    return RequestRefused({f"{place}.{name}": [ErrorDetail(first["detail"], first["code"])]})


def first_of(error: ValidationError) -> str:
    detail: Any = error.detail
    while isinstance(detail, dict | list):
        detail = next(iter(detail.values() if isinstance(detail, dict) else detail))
    return str(detail)
