"""What a job that cuts a subject out is. torch and onnxruntime are imported inside `run`."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _
from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.errors import DiskFull
from api.files.formats import FORMATS, encode
from api.files.services import link_inputs, sizes_of_inputs
from api.jobs.kinds import JobKind
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_batch
from api.runtime.model_use import measured, report_to
from api.runtime.picture_rows import record_picture
from api.safety.credentials.provenance import CUT_OUT, provenance_of
from api.safety.output import write_picture
from api.safety.pictures.checking import refuse_if_withheld
from api.vision.boxes import Box
from api.vision.cutout.request import CutoutRequest
from api.vision.cutout.spec import CUTOUT, SEGMENTATION, CutoutSpec
from config.catalog import get_catalog

Run = RunningJob[CutoutSpec]
ORIGIN = "edited"
NO_SUBJECT = "No subject was found: all of the picture is transparent, and all of a mask black."


@dataclass(frozen=True)
class Subject:
    """What was cut out, on disk."""

    file: storage.WrittenFile
    coverage: float
    box: Box | None


class Cutout(JobKind[CutoutSpec]):
    name = CutoutSpec.kind
    title = _("Cut out")
    spec_class = CutoutSpec
    max_batch = 8

    def without_models(self) -> bool | tuple[str, Collection[str]]:
        return False

    def expected_sizes(self, spec: CutoutSpec) -> Sequence[tuple[int, int]]:
        return sizes_of_inputs([spec.image])

    def find_warnings(self, spec: CutoutSpec) -> Iterator[str]:
        entry = get_catalog().find_model(spec.model_id)
        given = {"box": spec.box, "points": spec.points} if entry and entry.task == SEGMENTATION else {"classes": spec.classes}
        for name, value in given.items():
            if value is not None:
                yield no_effect(name, spec)

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        return cut_out_batch(batch)

    def record(self, job: Job, output: Subject) -> JsonObject:
        image = record_picture(job, output.file, origin=ORIGIN, source=self.read_spec(job).image)
        box = output.box.as_json() if output.box else None
        return {"images": [image], "coverage": round(output.coverage, 4), "box": box}

    def discard(self, output: Subject) -> None:
        storage.remove_written(output.file)

    def link_inputs(self, spec: CutoutSpec) -> Callable[[Job], None] | None:
        return link_inputs(spec)

    def render(self, job: Job, *, include: frozenset[str] = frozenset()) -> JsonObject | None:
        if not job.result:
            return job.result
        return {**job.result, "images": [with_addresses(image) for image in job.result["images"]]}


def no_effect(name: str, spec: CutoutSpec) -> str:
    return f"{name} has no effect with {spec.model_id}."


def with_addresses(image: JsonObject) -> JsonObject:
    path = f"/api/images/{image['id']}/"
    return {**image, "url": f"{path}file/", "thumbnail_url": f"{path}thumbnail/"}


# ---------------------------------------------------------------- run


def cut_out_batch(batch: Sequence[Run]) -> Iterator[Outcome]:
    """The pictures of all jobs with one model. A job whose picture can't be had fails by itself."""
    from api.model_loader import get_loader
    from api.vision.backends.cutout.run_cutout import find_masks

    going, ended = open_batch(batch, lambda picture, run: CutoutRequest(picture, run.spec))
    yield from ended
    if not going:
        return
    runs, requests = [run for run, _ in going], [request for _, request in going]
    with measured(runs, "segment"):
        masks = find_masks(get_loader(), batch[0].spec.model_id, requests, report_to(runs))
    for run, request, mask in zip(runs, requests, masks.results, strict=True):
        for note in masks.notes:
            run.warn(note)
        if run.spec.classes and not masks.uses_classes:
            run.warn(no_effect("classes", run.spec))
        if run.cancelled:
            yield Stopped(run)
        elif isinstance(mask, DarkroomError):
            yield Failed(run, mask)
        else:
            yield finish(run, request.picture, mask)


def finish(run: Run, picture: Image.Image, mask: object) -> Outcome:
    from api.vision.cutout.edges import alpha_of, bounds_of, coverage_of, cut_out

    spec = run.spec
    with run.measure("edges"):
        alpha = alpha_of(mask, picture, refine=spec.refine)  # type: ignore[arg-type]
        bounds, coverage = bounds_of(alpha), coverage_of(alpha)
        result = cut_out(picture, alpha) if spec.output == CUTOUT else alpha
    if bounds is None:
        run.warn(NO_SUBJECT)
    try:
        if spec.output == CUTOUT:
            refuse_if_withheld(run, result)
        with run.measure("save"):
            data = encode(result, FORMATS[spec.output_format])
            file = write_picture(data, result, spec.output_format, provenance_of(spec, CUT_OUT))
    except DiskFull:
        return Failed(run, DarkroomError("disk_full", 507, "The disk is full; the picture could not be kept."))
    except DarkroomError as error:
        return Failed(run, error)
    return Finished(run, Subject(file, coverage, Box(*map(float, bounds)) if bounds else None))
