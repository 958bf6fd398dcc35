"""What is asked of a grid. See api/specs.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NewType

from api.files.formats import FORMAT_NAMES
from api.images.spec import LONGEST_PROMPT, Img2ImgSpec, Txt2ImgSpec
from api.json_types import JsonObject
from api.specs import Spec, param

MOST_CELLS = 256
MOST_AXES = 3
LONGEST_FIELD, LONGEST_LABEL = 100, 300

JsonValue = NewType("JsonValue", object)
"""Any value of JSON."""
ImageRequestJson = NewType("ImageRequestJson", dict)  # type: ignore[type-arg]
"""An object: a body of /api/txt2img/ or /api/img2img/."""
CellChange = NewType("CellChange", dict)  # type: ignore[type-arg]
"""An object: the fields in which a cell's request differs from the first cell's; of the first cell, all of them."""


@dataclass(frozen=True, kw_only=True)
class GridAxis:
    """One field of the request, and the values that it takes."""

    field: str = param(
        max_length=LONGEST_FIELD,
        help="A field of the request (`seed`, `steps`, `model_id`, `prompt` …), or a place within one: `loras.0.weight`.",
    )
    part: str | None = param(
        default=None,
        omitted=True,
        max_length=LONGEST_PROMPT,
        help="Of a text: this part of it is replaced by each value, wherever it stands; default: the whole text.",
    )
    values: tuple[JsonValue, ...] = param(
        min_items=1,
        max_items=MOST_CELLS,
        help="As the field takes them; null: the field is not given. Of `preset` also objects: the fields of one, instead of its name.",
    )
    labels: tuple[str, ...] | None = param(
        default=None,
        omitted=True,
        max_items=MOST_CELLS,
        max_length=LONGEST_LABEL,
        help="What is written in the picture beside each value; default: the value.",
    )

    @property
    def name(self) -> str:
        """The field of the request that it changes."""
        return self.field.split(".")[0]


@dataclass(frozen=True, kw_only=True)
class GridSpec(Spec):
    """A request for a grid of pictures."""

    kind = "grid"

    request: ImageRequestJson = param(
        help="A body of POST /api/txt2img/, or with `image` of POST /api/img2img/; its seed is drawn once for all cells."
    )
    axes: tuple[GridAxis, ...] = param(
        min_items=1, max_items=MOST_AXES, help="The first varies from left to right, the second downwards, the third by sheets."
    )
    output_format: str = param(
        default="png", choices=FORMAT_NAMES, help="Of the picture with labels; `request` has its own for the cells."
    )
    cells: tuple[CellChange, ...] = param(default=(), internal=True)
    """Their requests with nothing left open, in the order in which they are read: from left to right, then downwards, then by sheets."""

    @cached_property
    def cell_specs(self) -> tuple[Txt2ImgSpec, ...]:
        return tuple(read_cell({**self.cells[0], **cell}) for cell in self.cells)

    @property
    def history_model(self) -> str:
        """None where the cells differ in it."""
        models = {cell.model_id for cell in self.cell_specs}
        return models.pop() if len(models) == 1 else ""

    @property
    def history_prompt(self) -> str:
        return str(self.request.get("prompt", ""))

    @property
    def asking_texts(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        for cell in self.cell_specs:
            for text, read in cell.asking_texts.items():
                found.setdefault(text, {}).update(dict.fromkeys(read))
        return {text: tuple(read) for text, read in found.items()}

    @property
    def input_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(identifier for cell in self.cell_specs for identifier in cell.input_ids))


def read_cell(data: Mapping[str, Any]) -> Txt2ImgSpec:
    return (Img2ImgSpec if data.get("image") else Txt2ImgSpec).from_json(data)


def as_changes(cells: list[JsonObject]) -> list[JsonObject]:
    """See `CellChange`: a grid of 256 cells has 256 requests that are nearly the same."""
    first, *others = cells
    return [first, *(changes(first, other) for other in others)]


def changes(first: JsonObject, other: JsonObject) -> JsonObject:
    names = dict.fromkeys([*first, *other])
    return {name: other.get(name) for name in names if other.get(name) != first.get(name)}
