"""A finished grid: its labelled picture, and behind each cell the picture that stands there."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from api.errors import DarkroomError
from api.images.grids.axes import describe_place, labels_of
from api.images.grids.spec import GridAxis, GridSpec
from api.images.models import GeneratedImage
from api.jobs.kinds import read_spec
from api.jobs.models import Job
from api.studio.sentences import in_language


def grid_context(job: Job) -> dict[str, object]:
    """Nothing for a grid whose picture was deleted, or that an earlier version made with another result."""
    result: Any = job.result or {}
    spec = find_spec(job)
    if not result.get("images") or "cells" not in result or spec is None:
        return {"grid": None}
    sheet = result["images"][0]
    wanted = [sheet["id"], *(cell["image"]["id"] for cell in result["cells"] if cell["image"])]
    here = set(GeneratedImage.objects.filter(pk__in=wanted).values_list("pk", flat=True))
    if uuid.UUID(sheet["id"]) not in here:
        return {"grid": None}
    cells = [describe_cell(spec.axes, cell, here) for cell in result["cells"]]
    return {
        "grid": {
            "image": sheet,
            "cells": cells,
            "lost": [cell for cell in cells if cell["error"]],
            "sheets": tables(spec.axes, cells),
            "corners": [axis.field.replace("_", " ") for axis in spec.axes],
        }
    }


def find_spec(job: Job) -> GridSpec | None:
    try:
        spec = read_spec(job)
    except DarkroomError:
        return None
    return spec if isinstance(spec, GridSpec) else None


def describe_cell(axes: Sequence[GridAxis], cell: Mapping[str, Any], here: set[uuid.UUID]) -> dict[str, Any]:
    box, image = cell["box"], cell["image"]
    places = (cell["column"], cell["row"], cell["sheet"])[: len(axes)]
    return {
        "label": describe_place(axes, places),
        "image": image["id"] if image and uuid.UUID(image["id"]) in here else "",
        "x": box["xmin"],
        "y": box["ymin"],
        "width": box["xmax"] - box["xmin"],
        "height": box["ymax"] - box["ymin"],
        "error": in_language(cell["error"]["detail"]) if cell["error"] else "",
    }


def tables(axes: Sequence[GridAxis], cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each sheet: its title, the labels of its columns, and its rows with theirs."""
    columns, rows, sheets = (*(labels_of(axis) for axis in axes), [""], [""])[:3]
    size, found = len(columns) * len(rows), []
    for number, title in enumerate(sheets):
        of_sheet = cells[number * size : (number + 1) * size]
        lines = [of_sheet[start : start + len(columns)] for start in range(0, size, len(columns))]
        found.append({"title": title, "columns": columns, "rows": list(zip(rows, lines, strict=True))})
    return found
