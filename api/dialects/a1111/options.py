"""AUTOMATIC1111's options, kept for each owner by itself: what one key says is nothing to the others."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from rest_framework.exceptions import ValidationError

from api.access.scopes import Principal
from api.dialects.a1111.checkpoints import checkpoint_of, find_checkpoint
from api.dialects.a1111.option_table import (
    CHECKPOINT,
    CHECKPOINT_HASH,
    CLIP_SKIP,
    DEFAULTS,
    FIXED,
    FORMAT,
    FORMAT_NAMES,
    MOST_CLIP_SKIP,
)
from api.dialects.models import A1111Options
from api.images.serializers import find_default
from api.json_types import Json
from api.strict import unknown_names

LONGEST_TEXT, LONGEST_LIST = 1000, 200
NAMES = [CHECKPOINT, CHECKPOINT_HASH, *DEFAULTS]


def get(principal: Principal) -> dict[str, Any]:
    """All options as they are for this principal; `sd_model_checkpoint` is a title, for `find_checkpoint`."""
    values = values_of(principal)
    return {**values, **describe_checkpoint(values.get(CHECKPOINT))}


def values_of(principal: Principal) -> dict[str, Any]:
    """The same without what is said of the model: `sd_model_checkpoint` is its id, and missing where none was chosen."""
    row = A1111Options.objects.filter(owner_key=principal.owner_key).first()
    return {**DEFAULTS, **(row.values if row else {})}


def describe_checkpoint(model_id: Any) -> dict[str, str]:
    """A model that is gone is still shown: a request that leaves it to this option is told so."""
    try:
        chosen = checkpoint_of(find_checkpoint(model_id) if model_id else find_default(None))
    except ValidationError:
        return {CHECKPOINT: model_id, CHECKPOINT_HASH: ""}
    return {CHECKPOINT: chosen.title, CHECKPOINT_HASH: chosen.sha256}


def read(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Of POST options, and of a request's `override_settings`: what is not said (null) is left out. `sd_model_checkpoint` comes out as
    the id of a model. Raises ValidationError, by the options' names.
    """
    errors: dict[str, Any] = dict(unknown_names(sent, NAMES, "option"))
    values: dict[str, Any] = {}
    for name, value in sent.items():
        if name in NAMES and name != CHECKPOINT_HASH and value is not None:
            try:
                values[name] = read_option(name, value)
            except ValidationError as error:
                errors[name] = error.detail
    if errors:
        raise ValidationError(errors)
    return values


def save(principal: Principal, sent: Mapping[str, Any]) -> None:
    """Null takes an option back to its default. Raises ValidationError."""
    values = read(sent)
    with transaction.atomic():
        row, _ = A1111Options.objects.select_for_update().get_or_create(owner_key=principal.owner_key)
        kept = {**row.values, **values}
        row.values = {
            name: value for name, value in kept.items() if sent.get(name, "") is not None and DEFAULTS.get(name) != value
        }
        row.save(update_fields=["values"])


# ---------------------------------------------------------------- one option


def read_option(name: str, value: Any) -> Json:
    """Raises ValidationError."""
    if name == CHECKPOINT:
        return find_checkpoint(as_text(value)).id
    if name in FIXED:
        return read_fixed(FIXED[name], value)
    if name == CLIP_SKIP and not (is_number(value) and value == int(value) and 1 <= value <= MOST_CLIP_SKIP):
        raise ValidationError(f"Must be a whole number from 1 to {MOST_CLIP_SKIP}.")
    if name == FORMAT and value not in list(FORMAT_NAMES):
        raise ValidationError(f"Must be one of {', '.join(FORMAT_NAMES)}.")
    return read_kept(DEFAULTS[name], value)


def read_fixed(allowed: tuple[Json, ...], value: Any) -> Json:
    """1 is 1.0; and neither is true."""
    for one in allowed:
        if value == one and isinstance(value, bool) == isinstance(one, bool):
            return one
    raise ValidationError(f"It can't be changed here: it is {' or '.join(repr(one) for one in allowed)}.", code="unsupported")


def read_kept(default: Json, value: Any) -> Json:
    """Of the default's type."""
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
    elif isinstance(default, int | float):
        if not is_number(value):
            raise ValidationError("A valid number is required.")
        return int(value) if isinstance(default, int) and value == int(value) else value  # type: ignore[no-any-return]
    elif isinstance(default, list):
        if not isinstance(value, list) or len(value) > LONGEST_LIST:
            raise ValidationError(f"Must be a list of up to {LONGEST_LIST} texts.")
        return [as_text(one) for one in value]
    else:
        return as_text(value)
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def as_text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValidationError(f"Must be a text of up to {LONGEST_TEXT} characters.")
    return value
