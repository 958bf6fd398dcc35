"""The cells of a grid: each is validated as the request that it would be alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from api.files.fields import by_content, by_id
from api.files.models import StoredFile
from api.images.grids.axes import NoSuchPlace, Places, cell_body, cell_places, count_cells, describe_place, with_value
from api.images.grids.presets import begin_with, find_preset_of, pin_presets, preset_at, without_unnamed
from api.images.grids.spec import MOST_CELLS, GridAxis
from api.images.presets.applying import PRESET, AppliedPreset
from api.images.serializers import Img2ImgSerializer, Txt2ImgSerializer
from api.images.spec import LONGEST_PROMPT, Txt2ImgSpec
from api.json_types import JsonObject
from api.strict import nearest

NO_AXIS = frozenset({"image", "mask", "num_images", "best_of", "rank_by", "output_format", "tags", "priority", "webhook"})
"""Fields that a grid can't show, or has its own of."""
OF_THE_GRID = ("priority", "webhook")
HISTORY_FIELD = "prompt"
"""Kept where an axis replaces it, since the history shows it."""


@dataclass
class Cells:
    """What became of a request and its axes."""

    specs: list[Txt2ImgSpec] = field(default_factory=list)
    axes: list[GridAxis] = field(default_factory=list)
    """Pictures in their values by their ids."""
    sent_axes: list[GridAxis] = field(default_factory=list)
    """The same with pictures by their contents."""
    preset: AppliedPreset | None = None
    """With which all cells begin."""
    presets: dict[str, AppliedPreset] = field(default_factory=dict)
    """With which some begin, where an axis names them."""
    request: JsonObject = field(default_factory=dict)
    """What the client sent, pictures by their ids."""
    fingerprint: JsonObject = field(default_factory=dict)
    """The same with pictures by their contents, and without a seed that was drawn here."""
    warnings: list[tuple[str, ...]] = field(default_factory=list)
    """Of each cell: what its words show, and its spec no longer does."""


def read_cells(request: Mapping[str, Any], axes: Sequence[GridAxis], context: Mapping[str, Any]) -> Cells:
    """Raises ValidationError; of cells that are refused, for the first of them."""
    preset = find_preset_of(request, context) if all(axis.field != PRESET for axis in axes) else None
    check_request({**(preset.request if preset else {}), **request})
    check_axes(begin_with(preset, request, axes), axes)
    pinned, presets = pin_presets(axes, context)
    replaced = {axis.field for axis in axes if axis.part is None} - {HISTORY_FIELD}
    body: JsonObject = {name: value for name, value in request.items() if value is not None and name not in replaced}
    cells = Cells(request=body, fingerprint=dict(body), axes=pinned, sent_axes=list(axes), preset=preset, presets=presets)
    if preset is not None:
        body[PRESET] = str(preset)  # one version for all cells
    if "seed" not in body and all(axis.field != "seed" for axis in axes):
        body["seed"] = secrets.randbelow(2**32)
    for places in cell_places(axes):
        of_cell = preset or preset_at(cells.axes, places, presets)
        serializer = validated_cell(begin_with(of_cell, body, axes), cells.axes, places, context)
        keep_pictures(cells, serializer.validated_data, places)
        submission = serializer.resolve()
        cells.specs.append(submission.spec)  # type: ignore[arg-type]  # what an image serializer makes
        cells.warnings.append(submission.warnings)
    return cells


def validated_cell(body: JsonObject, axes: Sequence[GridAxis], places: Places, context: Mapping[str, Any]) -> Txt2ImgSerializer:
    try:
        data = without_unnamed(cell_body(body, axes, places))
    except ValidationError as error:
        raise ValidationError(refusal(error.detail, axes, places)) from None
    except NoSuchPlace as error:
        raise ValidationError(
            {"axes": {str(place_of(str(error), axes)): {"field": [str(error)]}}}, code="no_such_place"
        ) from None
    serializer = serializer_for(body)(data=data, context=context)
    if not serializer.is_valid():
        raise ValidationError(refusal(serializer.errors, axes, places))
    return serializer


def place_of(error: str, axes: Sequence[GridAxis]) -> int:
    return next(index for index, axis in enumerate(axes) if f"'{axis.field}'" in error)


def keep_pictures(cells: Cells, validated: Mapping[str, Any], places: Places) -> None:
    """This cell has stored what its values brought, the first one what the request did: the others name it, and so does the grid."""
    for name in cells.request:
        if not cells.specs and has_file(validated.get(name)):
            stored = with_files(cells.request[name], validated[name])
            cells.request[name], cells.fingerprint[name] = by_id(stored), by_content(stored)
    for index, (axis, place) in enumerate(zip(cells.axes, places, strict=True)):
        found = found_at(validated, axis.field.split("."))
        if axis.part is None and has_file(found):
            stored = with_files(axis.values[place], found)
            cells.axes[index] = with_value(axis, place, by_id(stored))
            cells.sent_axes[index] = with_value(cells.sent_axes[index], place, by_content(stored))


def found_at(value: Any, path: Sequence[str]) -> Any:
    """None where there is nothing."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def with_files(sent: Any, validated: Any) -> Any:
    """What was sent, with files in the place of pictures; without what validation has decided for one cell's model."""
    if isinstance(validated, StoredFile):
        return validated
    if isinstance(sent, Mapping) and isinstance(validated, Mapping):
        return {name: with_files(value, validated.get(name)) for name, value in sent.items()}
    if isinstance(sent, list | tuple) and isinstance(validated, list | tuple):
        return [with_files(one, other) for one, other in zip(sent, validated, strict=True)]
    return sent


def has_file(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(has_file, value.values()))
    return any(map(has_file, value)) if isinstance(value, list | tuple) else isinstance(value, StoredFile)


def serializer_for(request: Mapping[str, Any]) -> type[Txt2ImgSerializer]:
    return Txt2ImgSerializer if request.get("image") is None else Img2ImgSerializer


# ---------------------------------------------------------------- what is refused


def check_request(request: Mapping[str, Any]) -> None:
    if request.get("num_images") not in (None, 1):
        raise ValidationError({"request": {"num_images": ["A cell holds one picture."]}}, code="max_value")
    for name in OF_THE_GRID:
        if request.get(name) is not None:
            raise ValidationError({"request": {name: ["Say it beside `request`: it is the grid's."]}}, code="invalid")


def check_axes(request: Mapping[str, Any], axes: Sequence[GridAxis]) -> None:
    errors: dict[str, Any] = {str(index): error for index in range(len(axes)) if (error := axis_error(request, axes, index))}
    if errors:
        raise ValidationError({"axes": errors}, code="invalid")
    if (count := count_cells(axes)) > MOST_CELLS:
        raise ValidationError({"axes": [f"They make {count:,} cells; a grid has up to {MOST_CELLS}."]}, code="too_many_cells")


def axis_error(request: Mapping[str, Any], axes: Sequence[GridAxis], index: int) -> dict[str, list[str]]:
    axis = axes[index]
    known = [name for name in serializer_for(request)._declared_fields if name not in NO_AXIS]
    if axis.name in NO_AXIS:
        return {"field": [f"'{axis.name}' can't be an axis."]}
    if axis.name not in known:
        return {"field": [f"A request has no field '{axis.name}'.{nearest(axis.name, known)}"]}
    if any((axis.field, axis.part) == (other.field, other.part) or overlap(axis, other) for other in axes[:index]):
        return {"field": [f"An axis before this one varies '{axis.field}' already."]}
    if axis.labels is not None and len(axis.labels) != len(axis.values):
        return {"labels": [f"{len(axis.values)} values need as many labels, not {len(axis.labels)}."]}
    if axis.name == PRESET and axis.part is not None:
        return {"part": ["A preset is named as a whole."]}
    return {} if axis.part is None else part_error(request, axis)


def overlap(axis: GridAxis, other: GridAxis) -> bool:
    """Whether one of them replaces what the other changes a part of."""
    if axis.part is not None and other.part is not None:
        return False
    return axis.field == other.field or axis.field.startswith(f"{other.field}.") or other.field.startswith(f"{axis.field}.")


def part_error(request: Mapping[str, Any], axis: GridAxis) -> dict[str, list[str]]:
    text = request.get(axis.field)
    if not isinstance(text, str):
        return {"part": [f"'{axis.field}' of the request is no text."]}
    if not axis.part or axis.part not in text:
        return {"part": [f"The request's {axis.field} does not have it; it must stand there as it is written here."]}
    if not all(isinstance(value, str) and len(value) <= LONGEST_PROMPT for value in axis.values):
        return {"values": ["Texts are needed, to stand in the place of `part`."]}
    return {}


def refusal(errors: Any, axes: Sequence[GridAxis], places: Places) -> dict[str, Any]:
    """A cell's errors: at the value of the axis that a field is varied by, else at the field of the request."""
    placed = [(index, axis, place) for index, (axis, place) in enumerate(zip(axes, places, strict=True))]
    by_field = {name: (index, place) for index, axis, place in placed for name in set_by(axis, place)}
    by_field |= {axis.name: (index, place) for index, axis, place in placed}
    of_axes: dict[int, Any] = {}
    of_request: dict[str, Any] = {}
    for name, detail in errors.items():
        if name in by_field:
            index, place = by_field[name]
            of_axes[index] = {"values": {place: within_value(detail, axes[index])}}
        else:
            of_request[name] = in_cell(detail, axes, places)
    return {**({"axes": of_axes} if of_axes else {}), **({"request": of_request} if of_request else {})}


def set_by(axis: GridAxis, place: int) -> list[str]:
    """The fields that a value has which stands for a preset."""
    value = axis.values[place]
    return list(value) if axis.field == PRESET and isinstance(value, Mapping) else []


def within_value(detail: Any, axis: GridAxis) -> Any:
    """At its place within the value; all of them at the value where something beside it is wrong too."""
    found = found_at(detail, axis.field.split(".")[1:])
    has_place = found is not None and list(leaves(found)) == list(leaves(detail))
    return found if has_place else list(leaves(detail))


def in_cell(detail: Any, axes: Sequence[GridAxis], places: Places) -> Any:
    """The first cell's errors, each at its place within the field; they are likely everybody's."""
    if isinstance(detail, Mapping):
        return {name: in_cell(one, axes, places) for name, one in detail.items()}
    if isinstance(detail, list | tuple):
        return [in_cell(one, axes, places) for one in detail]
    where = f" (in the cell with {describe_place(axes, places)})" if any(places) else ""
    return ErrorDetail(f"{detail}{where}", code=detail.code)


def leaves(detail: Any) -> Iterator[ErrorDetail]:
    if isinstance(detail, Mapping):
        detail = list(detail.values())
    if isinstance(detail, list | tuple):
        for one in detail:
            yield from leaves(one)
    else:
        yield detail
