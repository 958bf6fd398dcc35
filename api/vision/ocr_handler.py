"""What a job that reads the text in a picture is. torch and onnxruntime are imported inside `run`."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from PIL import Image

from api.errors import DarkroomError
from api.files import storage
from api.files.models import StoredFile
from api.jobs.models import Job
from api.jobs.running import Failed, Finished, Outcome, RunningJob, Stopped
from api.json_types import JsonObject
from api.runtime.input_pictures import open_input
from api.runtime.model_use import measured, report_to
from api.vision.annotated import AnnotatingKind, keep_annotated, record_annotated
from api.vision.ocr.lines import TextLine
from api.vision.ocr.models import REMOTE_MODEL
from api.vision.overlays import Annotation
from api.vision.spec import OcrSpec

Run = RunningJob[OcrSpec]
LONGEST_PROMPT = 2000


@dataclass(frozen=True)
class Read:
    """The text of one picture, with the annotated one on disk."""

    width: int
    height: int
    lines: list[TextLine]
    annotated: storage.WrittenFile | None

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class Ocr(AnnotatingKind[OcrSpec]):
    name = OcrSpec.kind
    title = _("Read text")
    spec_class = OcrSpec
    max_batch = 8
    template = "admin/vision/lines.html"

    def without_models(self) -> tuple[str, Collection[str]]:
        return "model_id", [REMOTE_MODEL]

    def run(self, batch: Sequence[Run]) -> Iterator[Outcome]:
        with ExitStack() as stack:
            with measured(batch, "load"):
                read = stack.enter_context(open_reader(batch))
            for run in batch:
                yield read_job(run, read)

    def record(self, job: Job, output: Read) -> JsonObject:
        """The text becomes what the history is searched by."""
        Job.objects.filter(pk=job.pk).update(prompt=output.text[:LONGEST_PROMPT])
        result: JsonObject = {"width": output.width, "height": output.height, "text": output.text}
        lines = [line.as_json() for line in output.lines]
        return {**result, "lines": lines, **record_annotated(job, output.annotated, self.read_spec(job).image)}

    def describe(self, job: Job) -> dict[str, object]:
        if not job.result:
            return {}
        picture = StoredFile.objects.filter(pk=self.read_spec(job).image).first()
        lines = [{**line, "points": svg_points(line["polygon"])} for line in job.result["lines"]]
        return {"lines": lines, "picture": picture, "annotated": job.result.get("annotated")}


def svg_points(polygon: Sequence[Sequence[float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in polygon)


# ---------------------------------------------------------------- run


def open_reader(batch: Sequence[Run]) -> AbstractContextManager[Any]:
    """What reads the pictures of the batch: all have the same model."""
    from api.vision.backends.ocr.remote import RemoteReader

    if batch[0].spec.model_id == REMOTE_MODEL:
        return RemoteReader(settings.OCR_REMOTE_URL, settings.OCR_REMOTE_KEY, timeout=settings.REMOTE_TIMEOUT_SECONDS)
    from api.model_loader import get_loader
    from api.vision.backends.ocr.run_ocr import open_reader

    return open_reader(get_loader(), batch[0].spec.model_id, report_to(batch))


def read_job(run: Run, read: Any) -> Outcome:
    if run.cancelled:
        return Stopped(run)
    from api.vision.ocr.ground import lay_on_ground

    spec = run.spec
    try:
        with run.measure("decode"):
            picture = lay_on_ground(open_input(spec.image, "RGBA"))
        with run.measure("read"):
            found = read(picture, spec.languages)
        lines = [line for line in found.lines if line.score >= spec.min_score]
        annotated = annotate(run, picture, lines) if spec.annotate and not run.cancelled else None
    except DarkroomError as error:
        return Failed(run, error)
    if run.cancelled:
        return Stopped(run)
    for warning in found.warnings:
        run.warn(warning)
    return Finished(run, Read(picture.width, picture.height, lines, annotated))


def annotate(run: Run, picture: Image.Image, lines: Sequence[TextLine]) -> storage.WrittenFile | None:
    return keep_annotated(run, picture, [Annotation(points=line.polygon, label=line.text, score=line.score) for line in lines])
