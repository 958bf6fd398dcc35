"""What a job that finds things in a picture is. torch and onnxruntime are imported inside `run`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
from api.vision.detection import DetectionRequest, Found
from api.vision.models import Detection
from api.vision.overlays import Annotation
from api.vision.spec import DEFAULT_IOU, DetectSpec

Run = RunningJob[DetectSpec]
ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Detected:
    """What was found in one picture, with the annotated one on disk."""

    width: int
    height: int
    found: list[Found]
    annotated: storage.WrittenFile | None


class Detect(AnnotatingKind[DetectSpec]):
    name = DetectSpec.kind
    title = _("Find things")
    spec_class = DetectSpec
    max_batch = 16
    template = "admin/vision/detections.html"

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        return detect_batch(batch)

    def record(self, job: Job, output: Detected) -> JsonObject:
        spec = self.read_spec(job)
        file = StoredFile.objects.filter(pk=spec.image).first()
        rows = [make_row(job, spec, file, index, found) for index, found in enumerate(output.found)]
        Detection.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)
        detections: list[JsonObject] = [
            {"label": row.label, "class_id": row.class_id, "score": row.score, "box": found.box.as_json()}
            for row, found in zip(rows, output.found, strict=True)
        ]
        result: JsonObject = {"width": output.width, "height": output.height, "detections": detections}
        return {**result, **record_annotated(job, output.annotated, spec.image)}

    def describe(self, job: Job) -> dict[str, object]:
        found = Detection.objects.filter(job=job).select_related("image").order_by("index")
        return {"detections": found, "annotated": job.result.get("annotated")} if job.result else {}


def make_row(job: Job, spec: DetectSpec, file: StoredFile | None, index: int, found: Found) -> Detection:
    box = found.box
    return Detection(
        job=job,
        index=index,
        owner_key=job.owner_key,
        image=file,  # it may have been deleted meanwhile
        model_id=spec.model_id,
        label=found.label,
        class_id=found.class_id,
        score=round(found.score, 4),
        xmin=box.xmin,
        ymin=box.ymin,
        xmax=box.xmax,
        ymax=box.ymax,
    )


# ---------------------------------------------------------------- run


def detect_batch(batch: Sequence[Run]) -> Iterator[Outcome]:
    """The pictures of all jobs together. A job whose picture or classes can't be had fails by itself."""
    from api.model_loader import get_loader
    from api.vision.backends.run_detector import run_detector

    going, ended = open_batch(batch, ask)
    yield from ended
    if not going:
        return
    runs, requests = [run for run, _ in going], [request for _, request in going]
    loader, model_id = get_loader(), batch[0].spec.model_id
    with measured(runs, "load"):
        loader.load(model_id, report_to(runs))
    with measured(runs, "detect"):
        detections = run_detector(loader, model_id, requests)
    for run, request, result in zip(runs, requests, detections.results, strict=True):
        for note in detections.notes:
            run.warn(note)
        if not detections.uses_iou and run.spec.iou != DEFAULT_IOU:
            run.warn(f"iou has no effect: {run.spec.model_id} gives one box for each thing, so that none is dropped.")
        yield finish(run, request.picture, result)


def ask(picture: Image.Image, run: Run) -> "DetectionRequest":
    spec = run.spec
    return DetectionRequest(picture, spec.threshold, spec.iou, spec.classes, spec.max_detections)


def finish(run: Run, picture: Image.Image, result: "list[Found] | DarkroomError") -> Outcome:
    output_of = partial(Detected, picture.width, picture.height)
    return finish_annotated(run, picture, result, annotations_of, output_of)


def annotations_of(found: list[Found]) -> list[Annotation]:
    return [Annotation.of_box(one.box, one.label, one.score) for one in found]
