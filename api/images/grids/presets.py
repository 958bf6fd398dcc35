"""A grid whose request begins with a preset: what of it the axes change, and the same grid said without the preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from rest_framework.exceptions import ValidationError

from api.images.grids.axes import Places, labels_of, replace_parts, with_value
from api.images.grids.spec import GridAxis
from api.images.presets.applying import PRESET, TEXTS, AppliedPreset, find_preset
from api.images.serializers import Txt2ImgSerializer
from api.json_types import JsonObject


def find_preset_of(request: Mapping[str, Any], context: Mapping[str, Any]) -> AppliedPreset | None:
    """Raises ValidationError."""
    try:
        return find_preset(request, owner_of(context))
    except ValidationError as error:
        raise ValidationError({"request": error.detail}) from None


def owner_of(context: Mapping[str, Any]) -> str | None:
    principal = Txt2ImgSerializer(context=context).principal
    return principal.owner_key if principal else None


def pin_presets(axes: Sequence[GridAxis], context: Mapping[str, Any]) -> tuple[list[GridAxis], dict[str, AppliedPreset]]:
    """The axes with name@version in the place of a preset's name, and the presets by that. Raises ValidationError."""
    pinned, presets = list(axes), {}
    for index, place, value in preset_values(axes):
        try:
            preset = find_preset({PRESET: value}, owner_of(context))
        except ValidationError as error:
            detail = error.detail[PRESET]  # type: ignore[call-overload, index]
            raise ValidationError({"axes": {str(index): {"values": {str(place): detail}}}}) from None
        if preset is not None:
            presets[str(preset)] = preset
            pinned[index] = with_value(pinned[index], place, str(preset))
    return pinned, presets


def preset_values(axes: Sequence[GridAxis]) -> Iterator[tuple[int, int, object]]:
    """The axis, the place of the value, the value."""
    for index, axis in enumerate(axes):
        if axis.field == PRESET:
            yield from ((index, place, value) for place, value in enumerate(axis.values))


def preset_at(axes: Sequence[GridAxis], places: Places, presets: Mapping[str, AppliedPreset]) -> AppliedPreset | None:
    """Of one cell, by the axis that names it."""
    named = (axis.values[place] for axis, place in zip(axes, places, strict=True) if axis.field == PRESET)
    return next((presets[name] for name in named if isinstance(name, str) and name in presets), None)


def begin_with(preset: AppliedPreset | None, request: Mapping[str, Any], axes: Sequence[GridAxis]) -> JsonObject:
    """The request, with what the preset sets of the fields that an axis changes a part of."""
    if preset is None:
        return dict(request)
    changed = {axis.name for axis in axes if axis.part is not None or axis.field != axis.name}
    begun = {name: value for name, value in preset.request.items() if name in changed and not preset.has_place(name)}
    return {**begun, **request}


# ---------------------------------------------------------------- without the preset


def written_out(preset: AppliedPreset, request: JsonObject, axes: Sequence[GridAxis]) -> tuple[JsonObject, list[GridAxis]]:
    """A request and axes that make the same cells, whatever becomes of the preset."""
    merged: JsonObject = {**preset.request, **request}
    del merged[PRESET]
    settled = [write_values(preset, axis) for axis in axes]
    for name in filter(preset.has_place, TEXTS):
        parts = [index for index, axis in enumerate(settled) if axis.field == name and axis.part is not None]
        words: Any = request.get(name, "")
        if any(str(settled[index].part) in preset.request[name] for index in parts):
            words, settled = mark_parts(words, settled, parts)
        merged[name] = cast(str, preset.fill(name, {name: words}, {}))
    idle = {axis.field for axis in axes if axis.part is None} - set(request)
    return {name: value for name, value in merged.items() if name not in idle}, settled


def write_values(preset: AppliedPreset, axis: GridAxis) -> GridAxis:
    """Words within the preset's; in the place of none at all what the preset sets."""
    name = axis.field
    if axis.part is not None or name not in preset.request:
        return axis
    has_place = preset.has_place(name)
    values: Any = tuple(
        preset.fill(name, {name: cast(str, value or "")}, {}) if has_place else preset.request[name] if value is None else value
        for value in axis.values
    )
    return axis if values == axis.values else replace(axis, values=values, labels=tuple(labels_of(axis)))


def mark_parts(words: str, axes: Sequence[GridAxis], parts: Sequence[int]) -> tuple[str, list[GridAxis]]:
    """With marks for the parts that are to be replaced: the preset's own words have them too, and keep them."""
    marks = {str(axes[index].part): f"[[{axes[index].field} {index}]]" for index in parts}
    marked = [replace(axis, part=marks[str(axis.part)]) if index in parts else axis for index, axis in enumerate(axes)]
    return replace_parts(words, marks), marked
