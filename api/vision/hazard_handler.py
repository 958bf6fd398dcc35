"""What a job that looks for hazards is. torch and onnxruntime are imported inside `run`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _
from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.models import StoredFile
from api.jobs.models import Job
from api.jobs.running import Outcome, RunningJob
from api.json_types import JsonObject
from api.runtime.input_pictures import open_batch
from api.runtime.model_use import measured, report_to
from api.vision.annotated import AnnotatingKind, finish_annotated, record_annotated
from api.vision.hazard_spec import HazardSpec
from api.vision.hazards import FoundHazards, HazardCell, HazardRequest
from api.vision.overlays import Annotation, colour_of

Run = RunningJob[HazardSpec]
SQUEEZED = 1.1
"""A picture whose shape differs by more than this factor from the reference picture's is warned of."""


@dataclass(frozen=True)
class Inspected:
    """What was found in one picture, with the annotated one on disk."""

    found: FoundHazards
    annotated: storage.WrittenFile | None


class Hazards(AnnotatingKind[HazardSpec]):
    name = HazardSpec.kind
    title = _("Hazards")
    spec_class = HazardSpec
    max_batch = 16
    template = "admin/vision/hazards.html"

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        return inspect_batch(batch)

    def record(self, job: Job, output: Inspected) -> JsonObject:
        result = {"risk": output.found.risk, "cells": [as_json(cell) for cell in output.found.cells]}
        return {**result, **record_annotated(job, output.annotated, self.read_spec(job).image)}

    def describe(self, job: Job) -> dict[str, object]:
        if not job.result:
            return {}
        picture = StoredFile.objects.filter(pk=self.read_spec(job).image).first()
        cells = [describe_cell(cell) for cell in job.result["cells"]]
        return {"risk": job.result["risk"], "cells": cells, "picture": picture, "annotated": job.result.get("annotated")}


def as_json(cell: HazardCell) -> JsonObject:
    labels: list[JsonObject] = [{"label": label.label, "score": round(label.score, 4)} for label in cell.labels]
    return {"index": cell.index, "box": cell.box.as_json(), "position": asdict(cell.position), "labels": labels}


def describe_cell(cell: dict[str, Any]) -> dict[str, object]:
    """For the job's page in the admin; `outline`: an SVG polygon's points."""
    xmin, ymin, xmax, ymax = (cell["box"][side] for side in ("xmin", "ymin", "xmax", "ymax"))
    outline = f"{xmin},{ymin} {xmax},{ymin} {xmax},{ymax} {xmin},{ymax}"
    text = ", ".join(f"{label['label']} {label['score']:.2f}" for label in cell["labels"])
    return {"index": cell["index"], **cell["position"], "outline": outline, "text": text}


# ---------------------------------------------------------------- run


def inspect_batch(batch: Sequence[Run]) -> Iterator[Outcome]:
    """The pictures of all jobs together. A job whose picture can't be had fails by itself."""
    from api.model_loader import get_loader
    from api.vision.backends.hazards.run_hazards import run_hazards

    going, ended = open_batch(batch, lambda picture, run: HazardRequest(picture, run.spec.threshold))
    yield from ended
    if not going:
        return
    runs, requests = [run for run, _ in going], [request for _, request in going]
    with measured(runs, "hazards"):
        answers = run_hazards(get_loader(), batch[0].spec.model_id, requests, report_to(runs))
    for run, request, result in zip(runs, requests, answers.results, strict=True):
        for note in answers.notes:
            run.warn(note)
        yield finish(run, request.picture, result)


def finish(run: Run, picture: Image.Image, result: FoundHazards | DarkroomError) -> Outcome:
    if isinstance(result, FoundHazards) and (note := shape_note(picture, result)):
        run.warn(note)
    return finish_annotated(run, picture, result, annotations_of, Inspected)


def shape_note(picture: Image.Image, found: FoundHazards) -> str:
    """Cells lie where they were in training only where the picture has the reference picture's shape."""
    width, height = found.reference
    factor = picture.width * height / (picture.height * width)
    if 1 / SQUEEZED <= factor <= SQUEEZED:
        return ""
    size = f"{picture.width} × {picture.height}"
    return f"The picture ({size}) has another shape than the model was made for ({width:g} × {height:g}): it was squeezed."


def annotations_of(found: FoundHazards) -> list[Annotation]:
    """Each cell in its best label's colour. Of cells side by side with the same labels the first alone is labelled: labels are wider."""
    before = (None, *found.cells)[: len(found.cells)]
    return [annotation_of(cell, labelled=not continues(left, cell)) for left, cell in zip(before, found.cells, strict=True)]


def annotation_of(cell: HazardCell, *, labelled: bool) -> Annotation:
    best, names = cell.labels[0], ", ".join(label.label for label in cell.labels)
    text, score = (names, best.score) if labelled else ("", None)
    return Annotation.of_box(cell.box, text, score, colour=colour_of(best.label), filled=True)


def continues(left: HazardCell | None, cell: HazardCell) -> bool:
    """Whether the cell lies directly to the right of the other and has the same labels."""
    if left is None or (left.box.xmax, left.box.ymin, left.box.ymax) != (cell.box.xmin, cell.box.ymin, cell.box.ymax):
        return False
    return [label.label for label in left.labels] == [label.label for label in cell.labels]
