"""From a request and its axes to the requests of the cells, as a client would have sent them. No Django."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from api.images.grids.spec import LONGEST_LABEL, GridAxis
from api.json_types import JsonObject
from api.runtime.labels import shorten

Places = tuple[int, ...]
"""Of a cell: for each axis, which of its values."""


class NoSuchPlace(ValueError):
    """The request has nothing where an axis wants to put its values. The message says what."""


def shape_of(axes: Sequence[GridAxis]) -> tuple[int, int, int]:
    """Columns, rows, sheets."""
    columns, rows, sheets = (*(len(axis.values) for axis in axes), 1, 1, 1)[:3]
    return columns, rows, sheets


def count_cells(axes: Sequence[GridAxis]) -> int:
    return prod(len(axis.values) for axis in axes)


def cell_places(axes: Sequence[GridAxis]) -> Iterator[Places]:
    """In the order of the cells: the first axis varies quickest."""
    for places in product(*(range(len(axis.values)) for axis in reversed(axes))):
        yield tuple(reversed(places))


def cell_body(request: Mapping[str, Any], axes: Sequence[GridAxis], places: Places) -> JsonObject:
    """Raises NoSuchPlace."""
    body = dict(request)
    replaced: dict[str, dict[str, str]] = {}
    for axis, place in zip(axes, places, strict=True):
        value = axis.values[place]
        if axis.part is None:
            body = put(body, axis.field.split("."), value, axis.field)
        else:
            replaced.setdefault(axis.field, {})[axis.part] = str(value)
    for field, parts in replaced.items():
        body[field] = replace_parts(str(request[field]), parts)
    return body


def with_value(axis: GridAxis, place: int, value: Any) -> GridAxis:
    return replace(axis, values=(*axis.values[:place], value, *axis.values[place + 1 :]))


def replace_parts(text: str, parts: Mapping[str, str]) -> str:
    """All at once: what takes the place of one part is not searched for the others. Of parts within each other the longest counts."""
    pattern = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
    return re.sub(pattern, lambda found: parts[found[0]], text)


def put(value: Any, path: Sequence[str], new: object, whole: str) -> Any:
    """A copy with `new` at the end of the path. An object may get a new member there, a list may not."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        if step not in value and rest:
            raise NoSuchPlace(f"The request has no '{whole}': '{step}' is not given.")
        return {**value, step: put(value.get(step), rest, new, whole)}
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return [put(one, rest, new, whole) if place == int(step) else one for place, one in enumerate(value)]
    raise NoSuchPlace(f"The request has no '{whole}': there is nothing at '{step}'.")


# ---------------------------------------------------------------- labels


def labels_of(axis: GridAxis) -> list[str]:
    return list(axis.labels) if axis.labels is not None else [label_of(axis, value) for value in axis.values]


def label_of(axis: GridAxis, value: object) -> str:
    """Words speak for themselves; a number says of what it is. A label that a client sends is no longer either."""
    if isinstance(value, str) and value:
        return shorten(value, LONGEST_LABEL)
    return shorten(f"{axis.field.replace('_', ' ')}: {shown(value) or 'empty'}", LONGEST_LABEL)


def shown(value: object) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items())
    return ", ".join(map(shown, value)) if isinstance(value, list | tuple) else str(value)


def describe_place(axes: Sequence[GridAxis], places: Places) -> str:
    """Of one cell, in a sentence: 'steps: 20, a red circle'."""
    return ", ".join(labels_of(axis)[place][:80] for axis, place in zip(axes, places, strict=True))
