"""A grid whose request begins with a preset: what of it the axes change, and the same grid said without the preset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from rest_framework.exceptions import ValidationError

from api.images.grids.axes import Places, labels_of, replace_parts, with_value
from api.images.grids.spec import GridAxis
from api.images.models import PresetVersion
from api.images.presets.applying import PRESET, TEXTS, AppliedPreset, find_preset
from api.images.presets.serializers import OF_THE_CALL, PICTURES
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
            check_begun(preset.request if preset else value)
        except ValidationError as error:
            detail = error.detail[PRESET]  # type: ignore[call-overload, index]
            raise ValidationError({"axes": {str(index): {"values": {str(place): detail}}}}) from None
        if preset is not None:
            presets[str(preset)] = preset
            pinned[index] = with_value(pinned[index], place, str(preset))
    return pinned, presets


def check_begun(fields: object) -> None:
    """Of what cells begin with. Raises ValidationError."""
    if not isinstance(fields, Mapping):
        return
    if fields.get("num_images") not in (None, 1):
        raise ValidationError({PRESET: ["It asks for several pictures, and a cell holds one."]}, code="max_value")
    if strange := [name for name in fields if name in (*PICTURES, *OF_THE_CALL)]:
        raise ValidationError(
            {PRESET: [f"What cells begin with has no {strange[0]}: the request has its own."]}, code="invalid"
        )


def preset_values(axes: Sequence[GridAxis]) -> Iterator[tuple[int, int, object]]:
    """The axis, the place of the value, the value."""
    for index, axis in enumerate(axes):
        if axis.field == PRESET:
            yield from ((index, place, value) for place, value in enumerate(axis.values))


def preset_at(axes: Sequence[GridAxis], places: Places, presets: Mapping[str, AppliedPreset]) -> AppliedPreset | None:
    """Of one cell, by the axis that names it."""
    for value in (axis.values[place] for axis, place in zip(axes, places, strict=True) if axis.field == PRESET):
        if isinstance(value, Mapping):
            return unnamed(value)
        return presets.get(value) if isinstance(value, str) else None
    return None


def unnamed(fields: Mapping[str, Any]) -> AppliedPreset:
    """What an axis of presets has in the place of a name: a preset's fields, all of which a request may change."""
    return AppliedPreset(PresetVersion(request=dict(fields), parameters=list(fields)))


def without_unnamed(body: JsonObject) -> JsonObject:
    """A cell's request, with the fields of the preset that it has in the place of a name. Raises ValidationError."""
    fields = body.get(PRESET)
    if not isinstance(fields, Mapping):
        return body
    preset = unnamed(fields)
    given: JsonObject = {name: value for name, value in body.items() if value is not None and name != PRESET}
    if preset.has_place("prompt") and "prompt" not in given:
        raise ValidationError({"prompt": ["It has a place for the request's words: send them in its prompt."]}, code="required")
    filled: dict[str, Any] = {name: preset.fill(name, given, {}) for name in filter(preset.has_place, TEXTS)}
    return {**fields, **given, **filled}


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


def write_presets(axis: GridAxis, presets: Mapping[str, AppliedPreset]) -> GridAxis:
    """An axis of presets, with their fields in the place of their names."""
    if axis.field != PRESET:
        return axis
    named = [presets.get(value) if isinstance(value, str) else None for value in axis.values]
    values: Any = tuple(preset.request if preset else value for preset, value in zip(named, axis.values, strict=True))
    return axis if values == axis.values else replace(axis, values=values, labels=tuple(labels_of(axis)))


def mark_parts(words: str, axes: Sequence[GridAxis], parts: Sequence[int]) -> tuple[str, list[GridAxis]]:
    """With marks for the parts that are to be replaced: the preset's own words have them too, and keep them."""
    marks = {str(axes[index].part): f"[[{axes[index].field} {index}]]" for index in parts}
    marked = [replace(axis, part=marks[str(axis.part)]) if index in parts else axis for index, axis in enumerate(axes)]
    return replace_parts(words, marks), marked
