"""What a grid's job is: a parent that asks for its cells, waits for them, and puts their pictures into one. Needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull, MissingFile
from api.files.models import StoredFile
from api.files.services import create_output, link_inputs, open_image
from api.images.grids.axes import shape_of
from api.images.grids.drawing import GridPicture
from api.images.grids.estimate import cell_warnings, sizes_of
from api.images.grids.label_layout import CellPlace, lay_out
from api.images.grids.spec import GridSpec
from api.images.handler import render_image
from api.images.metadata import encode_image
from api.images.models import GeneratedImage, ImageSource
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import ChildJob, Failed, Finished, Outcome, RunningJob, Stopped, Waiting
from api.jobs.states import Status
from api.json_types import JsonObject
from api.quotas import Amount
from api.safety.credentials.provenance import COMPOSED, provenance_of
from api.safety.output import write_picture
from api.specs import as_json

Run = RunningJob[GridSpec]
ORIGIN = GeneratedImage.Origin.GRID
DELETED = "The picture was deleted."


@dataclass(frozen=True)
class GridOutput:
    """The picture on disk, and for each cell where it lies in it."""

    file: storage.WrittenFile
    slots: list[CellPlace]
    children: list[Job]
    """In the order of the cells."""
    scale: float


class Grid(JobKind[GridSpec]):
    name = GridSpec.kind
    title = _("Variants")
    spec_class = GridSpec
    template = "admin/images/grid.html"

    def without_models(self) -> bool:
        return True

    def expected_sizes(self, spec: GridSpec) -> Sequence[tuple[int, int]]:
        layout = lay_out(spec.axes, sizes_of(spec))
        return [(layout.width, layout.height)]

    def expected_children(self, spec: GridSpec) -> Amount:
        sizes = zip(spec.cell_specs, sizes_of(spec), strict=True)
        return Amount(len(spec.cells)).plus(Amount.of_pictures(size for cell, size in sizes for _ in range(cell.num_images)))

    def child_count(self, spec: GridSpec) -> int:
        return len(spec.cells)

    def find_warnings(self, spec: GridSpec) -> Iterator[str]:
        return cell_warnings(spec)

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        for run in batch:
            yield go_on(run, in_cell_order(run.spec, run.children))

    def record(self, job: Job, output: GridOutput) -> JsonObject:
        spec = self.read_spec(job)
        image = record_grid(job, spec, output)
        columns, rows, sheets = shape_of(spec.axes)
        return {
            "images": [{"id": str(image.pk), "width": image.width, "height": image.height, **output.file.credentials_field}],
            "columns": columns,
            "rows": rows,
            "sheets": sheets,
            "scale": round(output.scale, 4),
            "cells": [
                describe_cell(child, slot, place_in(spec, index))
                for index, (child, slot) in enumerate(zip(output.children, output.slots, strict=True))
            ],
        }

    def discard(self, output: GridOutput) -> None:
        storage.remove_written(output.file)

    def link_inputs(self, spec: GridSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render_params(self, spec: GridSpec) -> JsonObject:
        return {name: value for name, value in spec.to_json().items() if name != "cells"}

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        images = [render_image(image, include) for image in job.result["images"]]
        cells = [
            {**cell, "image": render_image(cell["image"], include) if cell["image"] else None} for cell in job.result["cells"]
        ]
        return {**job.result, "images": images, "cells": cells}

    def describe(self, job: Job) -> dict[str, object]:
        """The cells with their jobs, from when they are asked for."""
        children = in_cell_order(self.read_spec(job), list(job.children.order_by("pk")))
        if not children:
            return {}
        cells = [{"job": child, "image": picture_of(child)} for child in children]
        columns, _, _ = shape_of(self.read_spec(job).axes)
        return {"rows": [cells[start : start + columns] for start in range(0, len(cells), columns)], "cell_count": len(cells)}


# ---------------------------------------------------------------- run


def model_order(spec: GridSpec) -> list[int]:
    """The cells' numbers, those of one model and one set of adapters one after the other, so that each is loaded once."""
    keys = [(cell.model_id, str(as_json(cell.loras))) for cell in spec.cell_specs]
    models, sets = list(dict.fromkeys(model for model, _ in keys)), list(dict.fromkeys(keys))
    return sorted(range(len(keys)), key=lambda index: (models.index(keys[index][0]), sets.index(keys[index])))


def in_cell_order(spec: GridSpec, children: Sequence[Job]) -> list[Job]:
    """`children` in the order in which they were asked for."""
    if not children:
        return []
    by_cell = dict(zip(model_order(spec), children, strict=True))
    return [by_cell[index] for index in range(len(children))]


def go_on(run: Run, children: list[Job]) -> Outcome:
    if run.cancelled:
        return Stopped(run)
    if not children:
        specs = run.spec.cell_specs
        return Waiting(run, [ChildJob(specs[index].kind, specs[index].to_json()) for index in model_order(run.spec)])
    if all(picture_of(child) is None for child in children):
        return Failed(run, no_cell_error(children))
    missing = sum(picture_of(child) is None for child in children)
    if missing:
        run.warn(f"{missing} of {len(children)} cells have no picture; `cells` says why.")
    try:
        return Finished(run, draw_grid(run, children))
    except DiskFull:
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the picture could not be kept."))


def no_cell_error(children: Sequence[Job]) -> DarkroomError:
    """The first cell's error stands for all of them."""
    error = next((child.error for child in children if child.error), None)
    if error is None:
        return DarkroomError("cells_cancelled", 409, "All cells were cancelled.")
    return DarkroomError(error["code"], error["status"], f"None of the {len(children)} cells could be made: {error['detail']}")


def draw_grid(run: Run, children: list[Job]) -> GridOutput:
    """Raises DiskFull."""
    with run.measure("draw"):
        layout = lay_out(run.spec.axes, sizes_of(run.spec, list(map(picture_of, children))))
        grid = GridPicture(layout)
        files = StoredFile.objects.in_bulk([UUID(str(image["id"])) for image in map(picture_of, children) if image])
        slots = [place_cell(grid, index, child, files) for index, child in enumerate(children)]
    with run.measure("save"):
        parameters = grid_parameters(run) if settings.IMAGE_METADATA else None
        data = encode_image(grid.image, run.spec.output_format, parameters, run.warn)
        file = write_picture(data, grid.image, run.spec.output_format, provenance_of(run.spec, COMPOSED))
    return GridOutput(file, slots, children, layout.scale)


def grid_parameters(run: Run) -> JsonObject:
    """What the file carries: the first cell's request, and the grid that it is of."""
    return {**run.spec.cell_specs[0].to_json(), "grid": Grid().render_params(run.spec), "job": str(run.id)}


def place_cell(grid: GridPicture, index: int, child: Job, files: Mapping[UUID, StoredFile]) -> CellPlace:
    image = picture_of(child)
    if image is None:
        return grid.leave_empty(index, reason_of(child))
    file = files.get(UUID(str(image["id"])))
    try:
        return grid.paste(index, open_image(file)) if file else grid.leave_empty(index, DELETED)
    except MissingFile:
        return grid.leave_empty(index, DELETED)


def picture_of(child: Job) -> JsonObject | None:
    """As its job's result has it; None where it made none."""
    return child.result["images"][0] if child.status == Status.SUCCEEDED and child.result else None


def reason_of(child: Job) -> str:
    return child.error["detail"] if child.error else "Cancelled."


# ---------------------------------------------------------------- record


def record_grid(job: Job, spec: GridSpec, output: GridOutput) -> GeneratedImage:
    file = output.file
    image = GeneratedImage.objects.create(
        file=create_output(job, file),
        job=job,
        index=0,
        owner_key=job.owner_key,
        origin=ORIGIN,
        model_id=job.model_id,
        prompt=job.prompt,
        width=file.width,
        height=file.height,
        parameters=Grid().render_params(spec),
    )
    ids = [UUID(str(found["id"])) for found in map(picture_of, output.children) if found]
    here = set(GeneratedImage.objects.filter(pk__in=ids).values_list("pk", flat=True))  # one may have been deleted
    links = [ImageSource(image=image, source_id=pk, position=place) for place, pk in enumerate(ids) if pk in here]
    ImageSource.objects.bulk_create(links)
    return image


def place_in(spec: GridSpec, index: int) -> JsonObject:
    columns, rows, _ = shape_of(spec.axes)
    sheet, within = divmod(index, columns * rows)
    row, column = divmod(within, columns)
    return {"index": index, "column": column, "row": row, "sheet": sheet}


def describe_cell(child: Job, slot: CellPlace, place: JsonObject) -> JsonObject:
    box: JsonObject = {"xmin": slot.left, "ymin": slot.top, "xmax": slot.left + slot.width, "ymax": slot.top + slot.height}
    return {**place, "box": box, "job": str(child.pk), "image": picture_of(child), "error": child.error}
